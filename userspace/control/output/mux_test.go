package output

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/transcript"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		format, err := ParseFormat(os.Args[2])
		if err == nil {
			err = Serve(format, "")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// printer is a worker's end of its pipes.
type printer struct {
	run            Run
	stdout, stderr *os.File
}

func (p *printer) close() {
	p.stdout.Close()
	p.stderr.Close()
}

var runs uint64

// newPrinter also returns the ends to read.
func newPrinter(t *testing.T, slot int) (p *printer, stdout, stderr *os.File) {
	t.Helper()
	runs++
	p = &printer{run: Run{ID: runs, Slot: slot}}
	stdout, p.stdout = newPipe(t)
	stderr, p.stderr = newPipe(t)
	return p, stdout, stderr
}

func newPipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "read"), os.NewFile(uintptr(fds[1]), "write")
}

func attach(t *testing.T, m *Mux, slot int) *printer {
	t.Helper()
	p, stdout, stderr := newPrinter(t, slot)
	m.Attach(p.run, stdout, stderr)
	return p
}

func waitFor(t *testing.T, m *Mux) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := m.Wait(ctx); err != nil {
		t.Error(err)
	}
}

func TestMuxKeepsLinesWhole(t *testing.T) {
	const workers, lines = 8, 500
	var out, errs bytes.Buffer
	m := NewMux(Prefix, &out, &errs)
	var group sync.WaitGroup
	for slot := range workers {
		p := attach(t, m, slot)
		group.Go(func() {
			defer p.close()
			for i := range lines {
				fmt.Fprintf(p.stdout, "line %d of %d\n", i, slot)
				fmt.Fprintf(p.stderr, "error %d of %d\n", i, slot)
			}
		})
	}
	group.Wait()
	waitFor(t, m)

	for text, word := range map[string]string{out.String(): "line", errs.String(): "error"} {
		next := make([]int, workers)
		for line := range strings.Lines(text) {
			var prefix, i, slot int
			if _, err := fmt.Sscanf(line, "[%d] "+word+" %d of %d\n", &prefix, &i, &slot); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if prefix != slot || next[slot] != i {
				t.Fatalf("%q comes where line %d of its worker should", line, next[slot])
			}
			next[slot]++
		}
		if slices.ContainsFunc(next, func(n int) bool { return n != lines }) {
			t.Errorf("%ss of each worker: %v, want %d", word, next, lines)
		}
	}
}

func TestPlainPassesLongLinesUnchanged(t *testing.T) {
	var out bytes.Buffer
	m := NewMux(Plain, &out, &out)
	p := attach(t, m, 0)
	long := strings.Repeat("0123456789", 200_000) // 2 MB
	want := "short\n" + long + "\nshort again\n"
	if _, err := io.WriteString(p.stdout, want); err != nil {
		t.Fatal(err)
	}
	p.close()
	waitFor(t, m)
	if got := out.String(); got != want {
		t.Errorf("%d bytes became %d", len(want), len(got))
	}
}

// Another worker's line in the middle of a long one gets a line of its own.
func TestPlainSeparatesWorkers(t *testing.T) {
	var out transcript.Text
	m := NewMux(Plain, &out, &out)
	a, b := attach(t, m, 0), attach(t, m, 1)
	half := strings.Repeat("x", PieceSize)
	print := func(p *printer, text string, total int) {
		t.Helper()
		if _, err := io.WriteString(p.stdout, text); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { return len(out.String()) >= total })
	}
	print(a, half, PieceSize)
	print(b, "b\n", PieceSize+3)
	print(a, "end\n", PieceSize+7)
	print(b, "b again\n", PieceSize+15)
	a.close()
	b.close()
	waitFor(t, m)
	if got, want := out.String(), half+"\nb\nend\nb again\n"; got != want {
		t.Errorf("after the first piece came %q", got[len(half):])
	}
}

func TestTailOfARun(t *testing.T) {
	var out bytes.Buffer
	m := NewMux(JSON, &out, &out)
	p := attach(t, m, 0)
	for i := range 30 {
		fmt.Fprintf(p.stdout, "line %d\n", i)
	}
	fmt.Fprint(p.stdout, "no end")
	p.close()
	got := m.Tail(t.Context(), p.run.ID)
	if len(got) != TailLines || got[0] != "line 11" || got[TailLines-1] != "no end" {
		t.Errorf("tail is %q", got)
	}
	if again := m.Tail(t.Context(), p.run.ID); again != nil {
		t.Errorf("tail of a run that is forgotten: %q", again)
	}
	waitFor(t, m)
}

// Something that a worker left behind may keep its pipes open.
func TestTailAndWaitEndWithTheirContext(t *testing.T) {
	m := NewMux(Plain, io.Discard, io.Discard)
	p := attach(t, m, 0)
	defer p.close()
	fmt.Fprintln(p.stdout, "last words")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if got := m.Tail(ctx, p.run.ID); !slices.Equal(got, []string{"last words"}) {
		t.Errorf("tail is %q", got)
	}
	if err := m.Wait(ctx); err != nil && err != context.DeadlineExceeded {
		t.Error(err)
	}
}

// A terminal that takes nothing holds no worker up for long, and what is
// dropped is counted.
func TestSlowReader(t *testing.T) {
	read, write := newPipe(t) // nobody reads yet
	defer read.Close()
	m := NewMux(Plain, write, write)
	p := attach(t, m, 0)
	line := strings.Repeat("x", 1023) + "\n"
	const lines = 3 * QueueSize / 1024

	printed := make(chan struct{})
	go func() {
		defer close(printed)
		for range lines {
			if _, err := io.WriteString(p.stdout, line); err != nil {
				t.Error(err)
			}
		}
	}()
	select {
	case <-printed:
	case <-time.After(30 * time.Second):
		t.Fatal("a worker still waits for a reader that takes nothing")
	}

	var got bytes.Buffer
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(&got, read)
	}()
	fmt.Fprintln(p.stdout, "and on it goes")
	p.close()
	waitFor(t, m)
	write.Close()
	<-copied

	whole, dropped := 0, 0
	for text := range strings.Lines(got.String()) {
		var n int
		switch _, err := fmt.Sscanf(text, "sockdist: dropped %d lines", &n); {
		case err == nil:
			dropped += n
		case text == line, text == "and on it goes\n":
			whole++
		default:
			t.Fatalf("line %.50q", text)
		}
	}
	if dropped == 0 || whole+dropped != lines+1 {
		t.Errorf("%d lines came and %d were dropped, of %d", whole, dropped, lines+1)
	}
}

// When nobody reads any more, workers print into the void and live.
func TestReaderThatIsGone(t *testing.T) {
	read, write := newPipe(t)
	read.Close()
	defer write.Close()
	m := NewMux(Plain, write, write)
	p := attach(t, m, 0)
	for range 10_000 {
		if _, err := io.WriteString(p.stdout, strings.Repeat("x", 1023)+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	p.close()
	waitFor(t, m)
}

// The process that reads lives as long as somebody prints, whatever happens to
// the one that started it.
func TestServe(t *testing.T) {
	client, socket, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	read, write := newPipe(t)
	defer read.Close()
	server := exec.Command(os.Args[0], "serve", "prefix")
	server.Stdout, server.Stderr, server.ExtraFiles = write, write, []*os.File{socket}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	socket.Close()
	write.Close()
	var out transcript.Text
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(&out, read)
	}()

	dead, stdout, stderr := newPrinter(t, 0)
	if err := client.Attach(dead.run, stdout, stderr); err != nil {
		t.Fatal(err)
	}
	stdout.Close()
	stderr.Close()
	fmt.Fprintln(dead.stdout, "one \xff")
	fmt.Fprintln(dead.stdout, "two")
	dead.close()
	if got := client.Tail(t.Context(), dead.run.ID); !slices.Equal(got, []string{"one \ufffd", "two"}) {
		t.Errorf("tail is %q", got)
	}
	if got := client.Tail(t.Context(), 12345); len(got) != 0 {
		t.Errorf("tail of no run is %q", got)
	}

	alive, stdout, stderr := newPrinter(t, 1)
	if err := client.Attach(alive.run, stdout, stderr); err != nil {
		t.Fatal(err)
	}
	stdout.Close()
	stderr.Close()
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		if err := server.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fmt.Fprintln(alive.stderr, "still printing"); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return strings.Contains(out.String(), "[1] still printing\n") })
	alive.close()
	<-copied
	if err := server.Wait(); err != nil {
		t.Errorf("the reading process ended with %v", err)
	}
}

func until(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("not in 30 s")
		}
		time.Sleep(time.Millisecond)
	}
}
