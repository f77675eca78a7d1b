// A plain server on net/http. What it does for the ledger is in recorder; what
// it can be told to do wrong is in knobs.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	shared := flag.Bool("reuseport", false, "set SO_REUSEPORT, to share the port without sockdist")
	flag.Parse()
	knobs := readKnobs()
	if knobs["LEDGER_FAIL"] != "" {
		log.Fatal("ledger server: told to fail")
	}
	time.Sleep(seconds(knobs["LEDGER_SLOW_START"], 0))

	var config net.ListenConfig
	if *shared {
		const reuseport = 15 // SO_REUSEPORT
		config.Control = func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, reuseport, 1) })
		}
	}
	books := &books{file: openRecords()}
	server := &http.Server{Handler: &handler{books, seconds(knobs["LEDGER_SERVICE_MS"], 0) / 1000}, ErrorLog: log.New(quiet{}, "", 0)}
	ended := obey(knobs, server, books)
	var serving sync.WaitGroup
	for _, port := range flag.Args() {
		plain, err := config.Listen(context.Background(), "tcp", ":"+port)
		if err != nil {
			log.Fatal(err)
		}
		serving.Go(func() {
			if err := server.Serve(&recorder{plain, books}); err != http.ErrServerClosed {
				log.Fatal(err)
			}
		})
	}
	serving.Wait()
	<-ended
}

type quiet struct{}

func (quiet) Write(b []byte) (int, error) { return len(b), nil }

// obey does what signals say. The channel is closed at a graceful end.
func obey(knobs map[string]string, server *http.Server, books *books) <-chan struct{} {
	ended := make(chan struct{})
	hangs := make(chan os.Signal, 1)
	signal.Notify(hangs, syscall.SIGUSR2)
	go func() {
		for range hangs {
			books.hang(knobs["LEDGER_HANG"], seconds(knobs["LEDGER_HANG_MS"], 2000)/1000)
		}
	}()
	switch {
	case knobs["LEDGER_IGNORE_TERM"] != "":
		signal.Ignore(syscall.SIGTERM)
	case knobs["LEDGER_GRACEFUL"] != "":
		terms := make(chan os.Signal, 1)
		signal.Notify(terms, syscall.SIGTERM)
		go func() {
			<-terms
			_ = server.Shutdown(context.Background())
			close(ended)
		}()
	}
	return ended
}

func readKnobs() map[string]string {
	knobs := make(map[string]string)
	lines := os.Environ()
	if text, err := os.ReadFile(os.Getenv("LEDGER_KNOBS")); err == nil {
		lines = append(lines, strings.Split(string(text), "\n")...)
	}
	for _, line := range lines {
		if name, value, found := strings.Cut(line, "="); found {
			knobs[name] = value
		}
	}
	return knobs
}

func seconds(text string, otherwise float64) time.Duration {
	number, err := strconv.ParseFloat(text, 64)
	if err != nil {
		number = otherwise
	}
	return time.Duration(number * float64(time.Second))
}

// handler answers with who it is and what it was asked.
type handler struct {
	books   *books
	service time.Duration
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Path[1:]
	h.books.record('N', r.RemoteAddr, " "+id)
	query := r.URL.Query()
	if query.Has("busy") {
		h.books.hang("busy", seconds(query.Get("busy"), 0)/1000)
	}
	if query.Has("deadlock") {
		h.books.hang("deadlock", 0)
	}
	time.Sleep(h.service)
	fmt.Fprintf(w, "%d %s %s\n", os.Getpid(), slot, id)
}

var slot = func() string {
	if s := os.Getenv("SOCKDIST_SLOT"); s != "" {
		return s
	}
	return "-"
}()

// books have each connection as soon as it is accepted: one file a process, one
// write a line, nothing held back in memory.
type books struct {
	file      *os.File   // nil: nobody keeps books
	accepting sync.Mutex // held by one that hangs
}

func openRecords() *os.File {
	folder := os.Getenv("SOCKDIST_LEDGER")
	if folder == "" {
		return nil
	}
	file, err := os.OpenFile(fmt.Sprintf("%s/%d.%d", folder, os.Getpid(), monotonic()), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	return file
}

func (l *recorder) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.books.record('A', connection.RemoteAddr().String(), "")
	l.books.accepting.Lock()
	l.books.accepting.Unlock() //nolint:staticcheck // it only waits
	return connection, nil
}

func (b *books) record(letter byte, peer, more string) {
	if b.file == nil {
		return
	}
	host, port, _ := net.SplitHostPort(peer)
	fmt.Fprintf(b.file, "%c %d %s %s%s\n", letter, monotonic(), host, port, more)
}

// recorder is a listener that keeps books.
type recorder struct {
	net.Listener
	books *books
}

// hang stops the accept loop, after one more connection.
func (b *books) hang(kind string, length time.Duration) {
	b.accepting.Lock()
	defer b.accepting.Unlock()
	for eaten := [][]byte{}; kind == "eat"; {
		eaten = append(eaten, bytes.Repeat([]byte{1}, 1<<20))
	}
	if kind == "deadlock" {
		select {}
	}
	for end := time.Now().Add(length); time.Now().Before(end) && !isThere(os.Getenv("LEDGER_HANG_END")); {
	}
}

func isThere(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// monotonic is CLOCK_MONOTONIC in ns, which the ledger's client uses too.
func monotonic() int64 {
	var now syscall.Timespec
	const clock = 1 // CLOCK_MONOTONIC
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano()
}
