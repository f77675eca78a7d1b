package ledger_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/dependent"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
)

// worker is one of the real servers, in a process of its own.
type worker struct {
	t       testing.TB
	port    int
	cmd     *exec.Cmd
	records string
	end     func() *os.ProcessState // waits for it
}

func startWorker(t testing.TB, s ledger.Server, knobs ...string) *worker {
	t.Helper()
	command, err := s.Install(t.TempDir())
	if errors.Is(err, exec.ErrNotFound) {
		privilege.Tool(t, s.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, port: servers.FreePort(t, nil), records: t.TempDir()}
	w.cmd = exec.Command(command[0], append(command[1:], fmt.Sprint(w.port))...)
	w.cmd.Env = append(append(os.Environ(), ledger.FolderVariable+"="+w.records), knobs...)
	if err := dependent.Start(w.cmd); err != nil {
		t.Fatal(err)
	}
	w.end = sync.OnceValue(func() *os.ProcessState { _ = w.cmd.Wait(); return w.cmd.ProcessState })
	t.Cleanup(func() { _ = w.cmd.Process.Kill(); w.end() })
	return w
}

// ready waits until it listens.
func (w *worker) ready() *worker {
	w.t.Helper()
	until(w.t, "it listens", func() bool { return w.listens("127.0.0.1") && w.listens("::1") })
	return w
}

// listens asks a question, so that all is recorded before a load begins.
func (w *worker) listens(host string) bool { return get(w.at(host), "0.0") == nil }

func (w *worker) at(host string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(host), uint16(w.port))
}

func (w *worker) start(l ledger.Load) *ledger.Run {
	w.t.Helper()
	r, err := ledger.Start(l)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { r.Finish() })
	return r
}

func (w *worker) settle(book *ledger.Book, kills ...ledger.Kill) *ledger.Balance {
	w.t.Helper()
	return settle(w.t, book, w.records, kills...)
}

func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func eachServer(t *testing.T, check func(t *testing.T, s ledger.Server)) {
	t.Parallel()
	for _, s := range ledger.Servers() {
		t.Run(s.String(), func(t *testing.T) { t.Parallel(); check(t, s) })
	}
}

// The books of real servers balance, over IPv4 and IPv6 at once, and also when
// a server is killed: then each loss is known to have been accepted, or not.
func TestWorkerIsKilled(t *testing.T) {
	eachServer(t, func(t *testing.T, s ledger.Server) {
		w := startWorker(t, s).ready()
		held := ledger.Held{Count: 10, Least: 20 * time.Millisecond, Most: 50 * time.Millisecond}
		four := w.start(ledger.Load{Server: w.at("127.0.0.1"), Rate: 150, Held: held})
		six := w.start(ledger.Load{Server: w.at("::1"), Rate: 150, First: 1_000_000, Held: held, Seed: 1})
		until(t, "both are answered", func() bool {
			return min(four.Progress().Answered, six.Progress().Answered) >= 100 && min(four.Progress().Exchanges, six.Progress().Exchanges) >= 250
		})

		kill, err := ledger.KillWorker(w.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		until(t, "many are refused", func() bool { return min(four.Progress().Lost, six.Progress().Lost) >= 50 })
		book := ledger.Merge(four.Finish(), six.Finish())

		balance := w.settle(book, kill)
		report := book.Report(balance)
		t.Log(report.Verdict())
		if !balance.Balances() || balance.Answered < 200 || len(book.With(ledger.Refused)) < 50 {
			t.Errorf("%s\n%v", report.Verdict(), balance.Faults)
		}
		// The held ones had been accepted for sure.
		if n := len(book.With(ledger.ResetAfterAccept)); n < 20 {
			t.Errorf("%d reset after accept, want the 20 held ones at least", n)
		}
		for _, e := range book.With(ledger.ResetAfterAccept) {
			if e.AcceptedBy != kill.PID {
				t.Errorf("not the killed one: %v", e)
			}
		}
		if n := len(book.With(ledger.TimedOut)) + len(book.With(ledger.Wrong)); n > 0 {
			t.Errorf("%d timed out or wrong", n)
		}
	})
}

// What waits while a server is stopped is accepted later, also when its client
// has gone by then; the books say so.
func TestWorkerIsStopped(t *testing.T) {
	eachServer(t, func(t *testing.T, s ledger.Server) {
		w := startWorker(t, s).ready()
		r := w.start(ledger.Load{Server: w.at("127.0.0.1"), Rate: 200, Timeout: 400 * time.Millisecond})
		until(t, "some are answered", func() bool { return r.Progress().Answered >= 50 })
		_ = w.cmd.Process.Signal(unix.SIGSTOP)
		until(t, "many time out", func() bool { return r.Progress().Lost >= 50 })
		_ = w.cmd.Process.Signal(unix.SIGCONT)
		answered := r.Progress().Answered
		until(t, "others are answered", func() bool { return r.Progress().Answered >= answered+50 })
		book := r.Finish()
		balance := w.settle(book)
		report := book.Report(balance)
		t.Log(report.Verdict(), balance.Gone)
		if !balance.Balances() || len(book.With(ledger.TimedOut)) < 50 || report.Lost() != len(book.With(ledger.TimedOut)) {
			t.Errorf("%s\n%v", report.Verdict(), balance.Faults)
		}
	})
}

// A server hangs when told so, by a signal or by a question, and others wait.
func TestWorkerHangs(t *testing.T) {
	eachServer(t, func(t *testing.T, s ledger.Server) {
		over := filepath.Join(t.TempDir(), "over")
		w := startWorker(t, s, "LEDGER_HANG=busy", "LEDGER_HANG_MS=20000", "LEDGER_HANG_END="+over).ready()
		r := w.start(ledger.Load{Server: w.at("::1"), Rate: 100, Timeout: 20 * time.Second})
		until(t, "some are answered", func() bool { return r.Progress().Answered >= 30 })
		_ = w.cmd.Process.Signal(unix.SIGUSR2)
		until(t, "it hangs", func() bool { return r.Progress().Open > 20 })
		if err := os.WriteFile(over, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		until(t, "it goes on", func() bool { return r.Progress().Open < 10 })
		book := r.Finish()
		if report := book.Report(w.settle(book)); report.Lost() > 0 || len(report.Balance.Faults) > 0 {
			t.Error(report.Verdict())
		}

		response := make(chan error, 1)
		go func() { response <- get(w.at("127.0.0.1"), "1.0?deadlock") }()
		r = w.start(ledger.Load{Server: w.at("127.0.0.1"), Rate: 100, Timeout: 500 * time.Millisecond, First: 5000})
		until(t, "it hangs for good", func() bool { return r.Progress().Lost > 20 })
		r.Finish()
		_ = w.cmd.Process.Kill()
		if err := <-response; err == nil {
			t.Error("a deadlock was answered")
		}
	})
}

func get(server netip.AddrPort, path string) error {
	c, err := net.Dial("tcp", server.String())
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	_, err = c.Read(make([]byte, 1))
	_ = c.(*net.TCPConn).SetLinger(0)
	return err
}

// Servers start slowly, fail to, and take SIGTERM in their ways. A file of
// knobs changes what the next start does.
func TestWorkerKnobs(t *testing.T) {
	eachServer(t, func(t *testing.T, s ledger.Server) {
		t.Run("fail", func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "knobs")
			if err := os.WriteFile(file, []byte("LEDGER_FAIL=1\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if state := startWorker(t, s, "LEDGER_KNOBS="+file).end(); state.ExitCode() != 1 {
				t.Errorf("%v, want exit code 1", state)
			}
		})
		t.Run("slow start", func(t *testing.T) {
			begin := time.Now()
			startWorker(t, s, "LEDGER_SLOW_START=0.5").ready()
			if took := time.Since(begin); took < 500*time.Millisecond {
				t.Errorf("it listens after %v", took)
			}
		})
		t.Run("default end", func(t *testing.T) {
			w := startWorker(t, s).ready()
			_ = w.cmd.Process.Signal(unix.SIGTERM)
			if state := w.end(); state.Sys().(syscall.WaitStatus).Signal() != unix.SIGTERM {
				t.Errorf("%v, want the signal", state)
			}
		})
		t.Run("ignores SIGTERM", func(t *testing.T) {
			w := startWorker(t, s, "LEDGER_IGNORE_TERM=1").ready()
			_ = w.cmd.Process.Signal(unix.SIGTERM)
			time.Sleep(100 * time.Millisecond)
			if !w.listens("127.0.0.1") {
				t.Error("it has ended")
			}
		})
		t.Run("graceful end", func(t *testing.T) {
			w := startWorker(t, s, "LEDGER_GRACEFUL=1", "LEDGER_SERVICE_MS=300").ready()
			r := w.start(ledger.Load{Server: w.at("127.0.0.1"), Rate: 1000, Count: 10})
			until(t, "all are accepted", func() bool { return w.accepted() >= 12 })
			_ = w.cmd.Process.Signal(unix.SIGTERM)
			book := r.Wait()
			if report := book.Report(w.settle(book)); report.Lost() > 0 {
				t.Error(report.Verdict())
			}
			if state := w.end(); state.ExitCode() != 0 {
				t.Errorf("%v, want exit code 0", state)
			}
		})
	})
}

// accepted counts what the worker recorded, with the two of ready.
func (w *worker) accepted() (n int) {
	files, _ := filepath.Glob(filepath.Join(w.records, "*"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		n += strings.Count("\n"+string(text), "\nA ")
	}
	return n
}
