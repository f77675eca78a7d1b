// Command worker is a server for the tests of sockdist run, with the habits that
// real ones have: several ports, slow answers, sockets of other kinds. It
// answers each request with its process ID and slot, as package clients expects.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	listens list
	own     = flag.Int("own", 0, "listen on 127.0.0.1, on this port plus the slot, as well")
	udp     = flag.String("udp", "", "bind this UDP address as well")
	dial    = flag.String("dial", "", "connect to this address")
	from    = flag.String("from", "", "… from this one")
	delay   = flag.Duration("delay", 0, "how long an answer takes")
	deaf    = flag.Bool("deaf", false, "ignore SIGTERM")
	chatty  = flag.Bool("chatty", false, "print a line for each request")
	accepts = flag.Bool("accepts", false, "print a line for each connection, before anything else is done with it")
	orphan  = flag.Duration("orphan", 0, "leave a process behind that lives that long")
	fail    = flag.Bool("fail", false, "print something and end before listening")
	slow    = flag.Duration("slow", 0, "wait that long before listening")
	later   = flag.Duration("later", 0, "wait that long between one address to listen on and the next")
	status  = flag.Int("status", 200, "answer with this status")
	more    = flag.String("more", "", "read flags from this file too, one a line: so the next start can differ")
	hidden  = flag.Bool("hidden", false, "be closed to debuggers, as servers are that change their user")
	env     = flag.String("env", "", "print these variables, separated by commas")
)

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	log.SetFlags(0)
	flag.Var(&listens, "listen", "listen on [NETWORK/]ADDRESS; can be repeated")
	flag.Parse()
	readMore()
	if *fail {
		fmt.Println("reading the configuration")
		log.Fatal("no configuration: giving up")
	}
	if *deaf {
		signal.Ignore(syscall.SIGTERM)
	}
	if *hidden {
		const setDumpable = 4 // of prctl(2)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setDumpable, 0, 0); errno != 0 {
			log.Fatal(errno)
		}
	}
	tellSignals()
	leaveOrphan()
	tellEnvironment()
	otherSockets()
	time.Sleep(*slow)
	serve()
}

func readMore() {
	text, err := os.ReadFile(*more)
	if *more == "" || errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		err = flag.CommandLine.Parse(strings.Fields(string(text)))
	}
	if err != nil {
		log.Fatal(err)
	}
}

func tellSignals() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range signals {
			fmt.Println("signal:", s)
			if s == syscall.SIGUSR2 {
				reopen <- struct{}{}
			}
		}
	}()
}

func leaveOrphan() {
	if *orphan > 0 {
		if err := exec.Command("sh", "-c", fmt.Sprintf("sleep %v & exit 0", orphan.Seconds())).Run(); err != nil {
			log.Fatal(err)
		}
	}
}

func tellEnvironment() {
	for _, name := range strings.FieldsFunc(*env, func(r rune) bool { return r == ',' }) {
		fmt.Printf("%s=%s\n", name, os.Getenv(name))
	}
}

// open keeps sockets from the garbage collector, which closes them.
var open []io.Closer

// otherSockets are those that sockdist has nothing to do with.
func otherSockets() {
	if *udp != "" {
		socket, err := net.ListenPacket("udp", *udp)
		if err != nil {
			fmt.Println("udp:", err)
		} else {
			open = append(open, socket)
			fmt.Println("udp: bound")
		}
	}
	if *dial != "" {
		dialFrom(*from)
	}
}

func dialFrom(from string) {
	local, err := net.ResolveTCPAddr("tcp", from)
	if err != nil {
		log.Fatal(err)
	}
	dialer := net.Dialer{LocalAddr: local, Timeout: 10 * time.Second}
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(context.Background(), "tcp", *dial)
	if err != nil {
		fmt.Println("dial:", err)
		return
	}
	open = append(open, conn)
	fmt.Println("dial: connected")
}

func serve() {
	slot, _ := strconv.Atoi(os.Getenv("SOCKDIST_SLOT"))
	if *own != 0 {
		listens = append(listens, fmt.Sprintf("127.0.0.1:%d", *own+slot))
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(*delay)
		if *chatty {
			fmt.Println("request from", r.RemoteAddr)
		}
		w.WriteHeader(*status)
		fmt.Fprintln(w, os.Getpid(), slot)
	})
	for {
		opened := listenAll()
		fmt.Println("out", slot)
		fmt.Fprintln(os.Stderr, "err", slot)
		<-reopen
		for _, l := range opened {
			l.Close()
		}
	}
}

// reopen has the server close its listeners and open new ones. Connections stay.
var reopen = make(chan struct{})

func listenAll() (opened []net.Listener) {
	for i, where := range listens {
		if i > 0 {
			time.Sleep(*later)
		}
		network, address, found := strings.Cut(where, "/")
		if !found {
			network, address = "tcp", where
		}
		l, err := net.Listen(network, address)
		if err != nil {
			log.Fatal(err)
		}
		opened = append(opened, l)
		server := &http.Server{ConnState: tellAccepted}
		go func() {
			if err := server.Serve(l); !errors.Is(err, net.ErrClosed) {
				log.Fatal(err)
			}
		}()
	}
	return opened
}

// tellAccepted runs in the loop that accepts.
func tellAccepted(conn net.Conn, state http.ConnState) {
	if *accepts && state == http.StateNew {
		fmt.Println("accepted", conn.RemoteAddr())
	}
}
