package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	trialConnections = 8
	trialPatience    = 2 * time.Second
)

// trial puts a real group through its paces, out of everybody's sight: in
// namespaces that one thread has to itself, with a bpffs and a loopback device
// of their own. The kernel takes all of it back with the thread.
func trial() Feature {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		done <- func() error {
			if err := hide(); err != nil {
				return err
			}
			return tryGroup()
		}()
	}()
	return feature(FeatureTrial, "pick, count and migrate", FloorKernel, <-done)
}

// hide gives the calling thread namespaces with a bpffs and a network of its own.
func hide() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make namespaces for the trial: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private for the trial: %w", err)
	}
	if err := unix.Mount("bpf", trialFolder(), "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs for the trial: %w", err)
	}
	return bringLoopbackUp()
}

// trialFolder is any folder to mount over: nobody else will see it.
func trialFolder() string {
	if _, err := os.Stat(bpffsDefault); err != nil {
		return os.TempDir()
	}
	return bpffsDefault
}

func bringLoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring the loopback device of the trial up: %w", err)
	}
	return nil
}

// tryGroup steers connections to two sockets, closes one of them, then all.
func tryGroup() (err error) {
	host, err := Open(Options{Dir: filepath.Join(trialFolder(), "sockdist")})
	if err != nil {
		return err
	}
	var open descriptors
	defer open.close()
	address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1)
	g, err := host.CreateGroup(GroupSpec{Name: "trial", Address: address, Policy: Least})
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, g.Destroy())
		g.Close()
	}()
	first, second, err := trialListeners(&open, address)
	if err != nil {
		return err
	}
	for slot, fd := range []int{first, second} {
		if _, err := g.Add(slot, Listener{FD: fd, PID: os.Getpid()}); err != nil {
			return err
		}
	}
	if err := g.Steer(first); err != nil {
		return err
	}
	for range trialConnections {
		if err := open.connect(address); err != nil {
			return err
		}
	}
	if err := expect(g, "of %d connections, the two sockets got %d and %d", trialConnections/2, trialConnections/2); err != nil {
		return err
	}
	open.closeOne(first)
	return expect(g, "of %d connections, when the first socket closed, the two had %d and %d", 0, trialConnections)
}

func trialListeners(open *descriptors, address netip.AddrPort) (first, second int, err error) {
	if first, err = open.listen(address); err != nil {
		return 0, 0, err
	}
	second, err = open.listen(address)
	return first, second, err
}

// expect waits until the two slots have so many connections.
func expect(g *Group, text string, first, second uint64) error {
	for deadline := time.Now().Add(trialPatience); ; time.Sleep(time.Millisecond) {
		s, err := g.Snapshot()
		if err != nil {
			return err
		}
		if len(s.Slots) == 2 && s.Slots[0].Connections == first && s.Slots[1].Connections == second {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf(text+", not %d and %d", trialConnections, s.Slots[0].Connections, s.Slots[1].Connections, first, second)
		}
	}
}

// descriptors are sockets that get closed at the end. Package net would put
// them into the poller and their making on other threads.
type descriptors struct{ open []int }

func (d *descriptors) close() {
	for _, fd := range d.open {
		unix.Close(fd)
	}
}

func (d *descriptors) closeOne(fd int) {
	for i, other := range d.open {
		if other == fd {
			d.open = append(d.open[:i], d.open[i+1:]...)
			unix.Close(fd)
			return
		}
	}
}

func (d *descriptors) socket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		d.open = append(d.open, fd)
	}
	return fd, err
}

func (d *descriptors) listen(address netip.AddrPort) (int, error) {
	fd, err := d.socket()
	if err != nil {
		return 0, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, fmt.Errorf("set SO_REUSEPORT: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: address.Addr().As4(), Port: int(address.Port())}); err != nil {
		return 0, fmt.Errorf("bind %s: %w", address, err)
	}
	if err := unix.Listen(fd, trialConnections); err != nil {
		return 0, fmt.Errorf("listen on %s: %w", address, err)
	}
	return fd, nil
}

func (d *descriptors) connect(address netip.AddrPort) error {
	fd, err := d.socket()
	if err != nil {
		return err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: address.Addr().As4(), Port: int(address.Port())})
	}
	if err != nil && !errors.Is(err, unix.EISCONN) {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	return nil
}
