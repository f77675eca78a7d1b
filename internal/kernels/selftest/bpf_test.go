package selftest

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// program loads one that does nothing but return a constant.
func program(t *testing.T, spec ebpf.ProgramSpec, result int32) *ebpf.Program {
	t.Helper()
	spec.License = "Dual MIT/GPL"
	spec.Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, result), asm.Return()}
	p, err := ebpf.NewProgram(&spec)
	check(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

func TestTracepointProgram(t *testing.T) {
	inGuest(t)
	p := program(t, ebpf.ProgramSpec{Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: "inet_sock_set_state"}, 0)
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	check(t, err)
	defer l.Close()
	if pin := "/sys/fs/bpf/selftest-link"; fileSystem(t, "/sys/fs/bpf") == unix.BPF_FS_MAGIC {
		check(t, l.Pin(pin))
		check(t, os.Remove(pin))
	}
}

func TestBindProgram(t *testing.T) {
	inGuest(t)
	const dir = "/sys/fs/cgroup/selftest-bind"
	check(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { check(t, os.Remove(dir)) })
	p := program(t, ebpf.ProgramSpec{Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Bind}, 1)
	l, err := link.AttachCgroup(link.CgroupOptions{Path: dir, Attach: ebpf.AttachCGroupInet4Bind, Program: p})
	check(t, err)
	check(t, l.Close())
}

func TestReuseportProgram(t *testing.T) {
	inGuest(t)
	p := program(t, ebpf.ProgramSpec{Type: ebpf.SkReuseport, AttachType: ebpf.AttachSkReuseportSelectOrMigrate}, 1)
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, p.FD()))
		}), err)
	}}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	hello(t, l, func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) })
}
