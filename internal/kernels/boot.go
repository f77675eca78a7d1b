package kernels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sockdist/sockdist/internal/dependent"
	"github.com/sockdist/sockdist/internal/kernels/guest"
)

// ErrTimeout is wrapped when a boot takes longer than it may.
var ErrTimeout = errors.New("timed out")

// Machine is what tests are booted on.
type Machine struct {
	Init      string        // the built init
	Dir       string        // for the initial file systems
	Memory    int           // MiB
	Timeout   time.Duration // of one boot, from start to report
	Bpffs     bool          // whether init mounts /sys/fs/bpf
	KernelLog bool          // let the kernel write to the console, not only when it panics
	Args      []string      // for the test binaries
}

// Boot runs the package's tests under the kernel and writes what the guest
// prints to out. It returns nil when they passed. QEMU is gone when it returns,
// and dies with this process too.
func (m Machine) Boot(ctx context.Context, image Image, p Package, out io.Writer) error {
	job := guest.Job{Kernel: image.Name, Binary: testBinary(p), Args: m.Args, Bpffs: m.Bpffs}
	word, err := job.Word()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(m.Dir, "boot-*")
	if err != nil {
		return fmt.Errorf("make a folder for the boot: %w", err)
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if err := writeInitrd(initrd, image, m.Init, p); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	err = m.emulate(limited, m.arguments(image.Vmlinuz(), initrd, word), out)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("boot interrupted: %w", ctx.Err())
	case limited.Err() != nil:
		return fmt.Errorf("%w after %v: see the guest's last lines", ErrTimeout, m.Timeout)
	}
	return err
}

// emulate runs QEMU to its end.
func (m Machine) emulate(ctx context.Context, args []string, out io.Writer) error {
	cmd := exec.CommandContext(ctx, Emulator()[0].Name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	err := dependent.Run(cmd)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("start qemu: %w", err)
	}
	return guest.Outcome(cmd.ProcessState.ExitCode())
}

// arguments for QEMU. Software emulation always: KVM does not boot stock kernels
// on every host that offers it. One thread for both processors: with a thread
// each, kernels panic now and then. The kernel's check of its timer interrupt
// goes by the clock, and fails, even to a panic, when the host is busy.
func (m Machine) arguments(vmlinuz, initrd, word string) []string {
	parameters := []string{"console=ttyS0", "panic=-1", "oops=panic", "mitigations=off", "no_timer_check"}
	if !m.KernelLog {
		parameters = append(parameters, "quiet")
	}
	return []string{
		"-accel", "tcg,thread=single", "-M", "q35", "-cpu", "max", "-smp", "2", "-m", strconv.Itoa(m.Memory),
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-device", fmt.Sprintf("isa-debug-exit,iobase=%#x,iosize=1", guest.ExitPort),
		"-kernel", vmlinuz, "-initrd", initrd,
		"-append", strings.Join(parameters, " ") + " -- " + word,
	}
}
