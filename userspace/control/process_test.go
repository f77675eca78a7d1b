package control_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/transcript"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/controltest"
	"github.com/sockdist/sockdist/userspace/control/output"
)

// superviseProcess is a whole process that does nothing but supervise.
func superviseProcess(args []string) error {
	flags := flag.NewFlagSet("supervise", flag.ContinueOnError)
	config := control.Config{Log: output.Prefix, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags.StringVar(&config.Name, "name", "", "")
	flags.IntVar(&config.Workers, "n", 1, "")
	withRelay := flags.Bool("relay", false, "")
	auto := flags.Bool("auto", false, "choose the format of the output")
	newProc := flags.Bool("proc", false, "mount /proc for a new PID namespace")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *newProc {
		if err := mountProc(); err != nil {
			return err
		}
	}
	if *withRelay {
		config.Relay = []string{"/proc/self/exe", "output"}
	}
	if *auto {
		config.Log = output.Auto
	}
	config.Command = flags.Args()

	s, err := control.New(config, new(controltest.Kernel))
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1)
	go func() {
		for got := range signals {
			s.Signal(got)
		}
	}()
	return s.Run(context.Background())
}

func mountProc() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return unix.Mount("proc", "/proc", "proc", 0, "")
}

// supervisor is a superviseProcess.
type supervisor struct {
	*exec.Cmd
	t      *testing.T
	name   string
	prints *transcript.Text
	ended  chan struct{} // no process has its standard output any more
}

func startSupervisor(t *testing.T, attributes *syscall.SysProcAttr, args ...string) *supervisor {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return startSupervisorOn(t, read, write, attributes, args...)
}

// startSupervisorOn gives it the one file, and reads from the other.
func startSupervisorOn(t *testing.T, read, write *os.File, attributes *syscall.SysProcAttr, args ...string) *supervisor {
	t.Helper()
	privilege.Require(t)
	s := &supervisor{
		t: t, name: fmt.Sprintf("control-test-%d-%d", os.Getpid(), apps.Add(1)),
		prints: new(transcript.Text), ended: make(chan struct{}),
	}
	s.Cmd = exec.Command(os.Args[0], append([]string{"supervise", "-name", s.name}, args...)...)
	s.Stdin, s.Stdout, s.Stderr, s.SysProcAttr = write, write, write, attributes
	t.Cleanup(s.end)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	go func() {
		defer close(s.ended)
		defer read.Close()
		_, _ = io.Copy(s.prints, bufio.NewReader(read))
	}()
	return s
}

// end ends the supervisor, and what it left because it was killed.
func (s *supervisor) end() {
	if s.Process != nil {
		_ = s.Process.Kill()
		_ = s.Wait()
	}
	_ = os.RemoveAll(filepath.Join(control.DefaultRuntimeDir, s.name))
	mount, err := cgroup.Find()
	if err != nil {
		s.t.Fatal(err)
	}
	tree, err := mount.Create(s.name)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, f := range []func() error{
		tree.Kill, func() error { return tree.WaitEmpty(ctx) }, tree.Remove, tree.Close,
	} {
		if err := f(); err != nil {
			s.t.Error(err)
		}
	}
	if s.t.Failed() {
		s.t.Logf("output of %s:\n%s", s.name, s.prints)
	}
}

func (s *supervisor) until(what string, condition func() bool) {
	s.t.Helper()
	(&app{t: s.t}).until(what, condition)
}

// prints a text n times, in all.
func (s *supervisor) printed(text string, n int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d times %q", n, text), func() bool { return strings.Count(s.prints.String(), text) >= n })
}

// A supervisor that is killed takes nobody with it: not at once, and not when
// the workers print the next time.
func TestWorkersOutliveTheirSupervisor(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	s := startSupervisor(t, nil, "-relay", "-n", "2", os.Args[0], "serve", "-print=20ms", address)
	s.printed("listening on "+address+" with 2 workers", 1)

	if err := s.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.Wait()
	so := strings.Count(s.prints.String(), "[1] still there")
	s.printed("[1] still there", so+20)
	ask(t, address)

	// The reader of the output ends when the last worker has.
	mount, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mount.Dir, "sockdist", s.name, "cgroup.kill"), []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		t.Error("the relay doesn't end with the last worker")
	}
}

// The next supervisor of the same name takes the workers over, and ends them.
func TestNextSupervisorTakesOver(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	s := startSupervisor(t, nil, "-relay", "-n", "2", os.Args[0], "serve", address)
	s.printed("listening on "+address, 1)
	before := ask(t, address)
	if err := s.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.Wait()

	next := startSupervisor(t, nil, "-name", s.name, "-relay", "-n", "2", os.Args[0], "serve", address)
	next.printed("took over 2 workers", 1)
	next.printed("listening on "+address+" with 2 workers", 1)
	if after := ask(t, address); len(strings.Fields(after)) != len(strings.Fields(before)) {
		t.Errorf("answer %q, before it was %q", after, before)
	}
	victim := number(t, strings.Fields(ask(t, address))[1])
	if err := unix.Kill(victim, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	next.printed("runs again", 1)
	if err := next.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := next.Wait(); err != nil {
		t.Errorf("the supervisor ended with %v", err)
	}
}

func TestProcessOne(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	orphan := `sh -c '(sleep 0.1; echo orphan ends) &'; exec "$0" serve "$1"`
	s := startSupervisor(t, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS},
		"-proc", "-relay", "-n", "2", "sh", "-c", orphan, os.Args[0], address)
	s.printed("listening on "+address+" with 2 workers", 1)
	s.printed("orphan ends", 2)
	s.until("no zombie is left", func() bool { return zombies(t, s.Process.Pid) == 0 })

	if err := s.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Errorf("process 1 ended with %v", err)
	}
}

// A log that nobody reads ends neither the supervisor nor the workers.
func TestLogThatNobodyReads(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := startSupervisorOn(t, read, write, nil, "-relay", os.Args[0], "serve", "-print=20ms", address)
	s.printed("listening on "+address, 1)
	read.Close()

	first := number(t, strings.Fields(ask(t, address))[1])
	if err := unix.Kill(first, unix.SIGKILL); err != nil { // which is told in the log
		t.Fatal(err)
	}
	s.until("another worker serves", func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		defer conn.Close()
		text, err := io.ReadAll(conn)
		return err == nil && len(text) > 0 && !strings.Contains(string(text), strconv.Itoa(first))
	})
	if err := s.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Errorf("the supervisor ended with %v", err)
	}
}

// On a terminal, lines have their slot; and when the terminal is closed, that
// is the end.
func TestTerminal(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	master, terminal := openTerminal(t)
	s := startSupervisorOn(t, master, terminal, &syscall.SysProcAttr{Setsid: true, Setctty: true},
		"-auto", "-relay", "-n", "2", os.Args[0], "serve", "-print=20ms", address)
	s.printed("listening on "+address+" with 2 workers", 1)
	s.printed("[1] still there", 1)
	master.Close()
	if err := s.Wait(); err != nil {
		t.Errorf("the supervisor ended with %v", err)
	}
}

func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	err = conn.Control(func(fd uintptr) {
		if err := unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err != nil {
			t.Error(err)
		}
		if number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

// zombies counts the children of a process that it hasn't waited for.
func zombies(t *testing.T, parent int) int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(rest); fields[0] == "Z" && fields[1] == strconv.Itoa(parent) {
			n++
		}
	}
	return n
}

// Output goes on when the process that reads it dies, the first time by
// another one and, when that doesn't live long either, by the supervisor.
func TestRelayThatDies(t *testing.T) {
	for name, pause := range map[string]time.Duration{"soon": 0, "late": 6 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer write.Close()
			prints := new(transcript.Text)
			go func() {
				defer read.Close()
				_, _ = io.Copy(prints, read)
			}()
			tag := fmt.Sprintf("tag-%d-%d", os.Getpid(), apps.Add(1))
			address := freeAddress(t)
			a := start(t, control.Config{
				Workers: 2, Command: []string{"test", "serve", "-print=20ms", address},
				Stdout: write, Stderr: write, Relay: []string{os.Args[0], "output", tag},
			}, new(controltest.Kernel))
			a.until("output", func() bool { return strings.Contains(prints.String(), "[1] still there") })

			time.Sleep(pause)
			if err := unix.Kill(relayOf(t, tag), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			a.says("is gone: starting another one")
			so := strings.Count(prints.String(), "[1] still there")
			a.until("more output", func() bool { return strings.Count(prints.String(), "[1] still there") > so+20 })
			for _, w := range a.Workers() {
				if w.Starts != 1 {
					t.Errorf("worker %d was started %d times", w.Slot, w.Starts)
				}
			}
			a.stop()
			if err := a.result(); err != nil {
				t.Error(err)
			}
		})
	}
}

// relayOf returns the process with the tag among its arguments.
func relayOf(t *testing.T, tag string) int {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), "\x00"+tag+"\x00") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatal("no relay runs")
	return 0
}
