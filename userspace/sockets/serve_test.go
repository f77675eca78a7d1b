package sockets

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// serveRole serves what it inherited, in one of the ways in which servers wait
// for connections: it sends back what comes. A strict one ends when accept
// fails, as some do.
func serveRole(args []string) error {
	way, strict := args[0], len(args) > 1
	if err := unix.SetNonblock(inherited, way != "accept"); err != nil {
		return err
	}
	waits := map[string]func() error{
		"accept": func() error { return nil },
		"poll":   pollIt,
		"epoll":  epollIt(unix.EPOLLIN),
		"edge":   epollIt(unix.EPOLLIN | unix.EPOLLET),
	}
	if way == "go" {
		l, err := net.FileListener(os.NewFile(inherited, "listener"))
		if err != nil {
			return err
		}
		go acceptByGo(l)
	} else {
		go acceptBySyscall(waits[way], strict)
	}
	return waitForEnd()
}

// acceptByGo ends with the first error, as net/http does.
func acceptByGo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "accept:", err)
			return
		}
		go echo(c)
	}
}

// acceptBySyscall accepts all there are after each wait.
func acceptBySyscall(wait func() error, strict bool) {
	for {
		if err := wait(); err != nil && !errors.Is(err, unix.EINTR) {
			fmt.Fprintln(os.Stderr, "wait:", err)
			os.Exit(1)
		}
		for {
			fd, _, err := unix.Accept4(inherited, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if strict && err == unix.EINVAL {
				fmt.Fprintln(os.Stderr, "accept:", err)
				os.Exit(1)
			}
			if err != nil {
				break
			}
			file := os.NewFile(uintptr(fd), "connection")
			c, err := net.FileConn(file)
			file.Close()
			if err == nil {
				go echo(c)
			}
		}
	}
}

func pollIt() error {
	_, err := unix.Poll([]unix.PollFd{{Fd: inherited, Events: unix.POLLIN}}, -1)
	return err
}

func epollIt(events uint32) func() error {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.EpollCtl(set, unix.EPOLL_CTL_ADD, inherited, &unix.EpollEvent{Events: events})
	}
	return func() error {
		if err != nil {
			return err
		}
		_, err := unix.EpollWait(set, make([]unix.EpollEvent, 8), -1)
		return err
	}
}
