// Command hostileworker is a worker that serves, and beside that does to its
// supervisor's socket whatever it can. It prints a line for each thing that it
// got and should not have.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/wire"
)

var (
	listen = flag.String("listen", "", "listen on this address")
	rounds = flag.Int("rounds", 20, "how often it does everything")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		mine := fileOf(l.(*net.TCPListener))
		for range *rounds {
			wrongThings()
			wrongOrder()
			closeAtEachStep(mine)
		}
		manySessions(mine)
		raw(mine)
		fmt.Println("hostile: done")
	}()
	log.Fatal(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, os.Getpid(), os.Getenv("SOCKDIST_SLOT"))
	})))
}

func fileOf(l interface{ File() (*os.File, error) }) *os.File {
	file, err := l.File()
	if err != nil {
		log.Fatal(err)
	}
	return file
}

func dial() *wire.Conn {
	for {
		conn, err := wire.Dial(context.Background(), os.Getenv("SOCKDIST_SOCKET"))
		if err == nil {
			return conn
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ask returns the last reply.
func ask(conn *wire.Conn, r wire.Request, files ...*os.File) (wire.Reply, error) {
	if err := conn.Send(r, files...); err != nil {
		return wire.Reply{}, err
	}
	for {
		reply, came, err := conn.Receive()
		for _, f := range came {
			f.Close()
		}
		if err != nil || reply.Done || reply.Bring {
			return reply, err
		}
	}
}

var join = wire.Request{Verb: wire.JoinGroup}

// refused says so if it isn't.
func refused(what string, r wire.Request, files ...*os.File) {
	conn := dial()
	defer conn.Close()
	reply, err := ask(conn, r, files...)
	if err == nil && reply.Error == "" || reply.Seat != nil {
		fmt.Printf("hostile: %s: %+v\n", what, reply)
	}
}

// wrongThings joins with what is no listener of a worker here.
func wrongThings() {
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	refused("a pipe", join, r)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		log.Fatal(err)
	}
	defer udp.Close()
	datagrams := fileOf(udp)
	defer datagrams.Close()
	refused("UDP", join, datagrams)
	// A socket that is bound, and doesn't listen.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	bound := os.NewFile(uintptr(fd), "bound")
	defer bound.Close()
	refused("a socket that doesn't listen", join, bound)
	refused("four descriptors", join, r, w, datagrams, bound)
}

func wrongOrder() {
	for _, verb := range []string{wire.Drain, wire.Undrain, wire.Quit, wire.Stop, wire.Leave, wire.Reload, "nonsense", ""} {
		refused(verb+" first", wire.Request{Verb: verb})
		conn := dial()
		if reply, err := ask(conn, join); err != nil || !reply.Bring {
			fmt.Printf("hostile: a join: %+v, %v\n", reply, err)
		}
		if reply, err := ask(conn, wire.Request{Verb: verb}); err == nil && reply.Error == "" {
			fmt.Printf("hostile: %s without a seat: %+v\n", verb, reply)
		}
		conn.Close()
	}
}

func closeAtEachStep(mine *os.File) {
	for _, step := range []func(*wire.Conn){
		func(*wire.Conn) {},
		func(c *wire.Conn) { _ = c.Send(join) },
		func(c *wire.Conn) { _ = c.Send(join, mine) },
		func(c *wire.Conn) { _, _ = ask(c, join, mine) },
		func(c *wire.Conn) { _, _ = ask(c, join, mine); _ = c.Send(join, mine, mine) },
	} {
		conn := dial()
		step(conn)
		conn.Close()
	}
}

// manySessions holds as many as it gets.
func manySessions(mine *os.File) {
	var group sync.WaitGroup
	hold := make(chan struct{})
	for range 300 {
		conn := dial()
		group.Go(func() {
			defer conn.Close()
			_, _ = ask(conn, join, mine)
			<-hold
		})
	}
	time.Sleep(time.Second)
	close(hold)
	group.Wait()
}

// raw sends no JSON, too much of it, and descriptors by the hundred.
func raw(mine *os.File) {
	path := os.Getenv("SOCKDIST_SOCKET")
	fds := make([]int, 253)
	for i := range fds {
		fds[i] = int(mine.Fd())
	}
	for range 50 {
		for _, text := range []string{"", "{", `{"version":1,"verb":"join"}`, `{"version":9}`, strings.Repeat("[", 1<<15)} {
			conn, err := net.Dial("unixpacket", path)
			if err != nil {
				continue
			}
			_, _, _ = conn.(*net.UnixConn).WriteMsgUnix([]byte(text), unix.UnixRights(fds...), nil)
			conn.Close()
		}
	}
}
