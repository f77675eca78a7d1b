package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/servers"
)

// contained starts sockdist as process 1 of namespaces like a container's: its
// own processes, mounts and /proc.
func contained(line string) setup {
	s := flags(line)
	s.under = []string{"sh", "-c", `mount --make-rprivate / && mount -t proc proc /proc && exec "$@"`, "sh"}
	s.prepare = func(cmd *exec.Cmd) {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWPID | unix.CLONE_NEWNS
	}
	return s
}

func TestRunAsProcess1(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := contained("-n 3").start(t, "worker", "-orphan=2s", "-listen", fmt.Sprint(":", port))

	// Each worker leaves a process behind, which comes to process 1.
	until(t, "orphans come to process 1", func() bool { return len(childrenNamed(a.pid(), "sleep")) > 0 })
	a.serves(port, 3)
	until(t, "orphans are reaped", func() bool { return len(childrenNamed(a.pid(), "sleep")) == 0 })

	// Process IDs are those of the namespace, of servers and slots alike.
	held := clients.Hold(t, local(port), 60)
	a.expectEven(port, held)
	if pids := status(t, a.pid(), "NSpid"); !strings.HasSuffix(pids, "\t1") {
		t.Errorf("sockdist isn't process 1, but %s", pids)
	}

	a.signal(unix.SIGUSR1)
	until(t, "each worker gets SIGUSR1", func() bool { return strings.Count(read(a.output), "signal: user defined signal 1") == 3 })

	killProcess(t, a.workers()["1"][0])
	until(t, "the worker is back", func() bool {
		s := a.slot(port, 1)
		return s.PID != 0 && s.State.String() == "live" && held.PIDs()[s.PID] == 0
	})
	held.Reset()
	a.idle(port)
	clients.Hold(t, local(port), 3).Close()
	a.signal(unix.SIGTERM)
	if code := a.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestRunAsProcess1Fails(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	a := contained("-n 2").start(t, "worker", "-fail")
	if code := a.exit(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if text := lastError(t, a); !strings.Contains(text, "no configuration: giving up") {
		t.Errorf("the error isn't the worker's: %s", text)
	}
}

// The end of process 1 by kill -9 is the end of all in the container; the next
// one finds its name free.
func TestRunAsProcess1IsKilled(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	first := contained("-n 2").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 2)
	first.kill()
	until(t, "all processes are dead", func() bool { return len(first.workers()) == 0 })
	s := contained("-n 2")
	s.again = first
	second := s.start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 2)
	second.expectEven(port, clients.Hold(t, local(port), 20))
}

// childrenNamed are the children of a process, zombies too, by their name.
func childrenNamed(pid int, name string) (found []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(text)) {
			child, _ := strconv.Atoi(field)
			comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
			if strings.TrimSpace(string(comm)) == name {
				found = append(found, child)
			}
		}
	}
	return found
}

// On a terminal each line has its slot, Ctrl-C is an end in order, and so is
// closing the terminal.
func TestRunOnTerminal(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for name, end := range map[string]func(master *os.File) error{
		"Ctrl-C": func(master *os.File) error { _, err := master.WriteString("\x03"); return err },
		"hangup": (*os.File).Close,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master, slave := openTerminal(t)
			port := servers.FreePort(t, nil)
			s := flags("-n 2")
			s.prepare = func(cmd *exec.Cmd) {
				cmd.Stdin, cmd.Stdout = slave, slave
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			}
			a := s.start(t, "worker", "-listen", fmt.Sprint(":", port))
			slave.Close()
			a.serves(port, 2)
			shown := make([]byte, 4096)
			var text string
			for !strings.Contains(text, "[0] out 0\r\n") || !strings.Contains(text, "[1] out 1\r\n") {
				n, err := master.Read(shown)
				if err != nil {
					t.Fatalf("the terminal shows %q, then: %v", text, err)
				}
				text += string(shown[:n])
			}
			clients.Hold(t, local(port), 4).Close()
			if err := end(master); err != nil {
				t.Fatal(err)
			}
			if code := a.exit(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func openTerminal(t testing.TB) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}
