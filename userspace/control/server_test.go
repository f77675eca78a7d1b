package control_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// serve is a server that answers each connection with its slot and PID.
func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	var (
		mptcp  = flags.Bool("mptcp", false, "listen with MPTCP")
		deaf   = flags.Bool("deaf", false, "ignore SIGTERM")
		print  = flags.Duration("print", 0, "print a line this often")
		again  = flags.Bool("again", false, "close the listeners at SIGUSR2, and open them again")
		usr1   = flags.Bool("usr1", false, "print a line at SIGUSR1")
		finish = flags.Duration("finish", 0, "exit with status 7 after this time")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *deaf {
		signal.Ignore(unix.SIGTERM)
	}
	if *usr1 {
		got := make(chan os.Signal, 1)
		signal.Notify(got, unix.SIGUSR1)
		go func() {
			for range got {
				fmt.Println("got SIGUSR1")
			}
		}()
	}
	reopen := make(chan os.Signal, 1)
	if *again {
		signal.Notify(reopen, unix.SIGUSR2)
	}
	if *finish > 0 {
		time.AfterFunc(*finish, func() { os.Exit(7) })
	}

	var listeners []net.Listener
	for _, address := range flags.Args() {
		l, err := listen(address, *mptcp)
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
		go answer(l)
	}
	fmt.Println("serving")
	if *again {
		<-reopen
		for i, l := range listeners {
			l.Close()
			l, err := listen(flags.Arg(i), *mptcp)
			if err != nil {
				return err
			}
			go answer(l)
		}
	}
	for *print > 0 {
		time.Sleep(*print)
		if _, err := fmt.Println("still there"); err != nil {
			return err
		}
	}
	select {}
}

func listen(address string, mptcp bool) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var failed error
		err := conn.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, failed)
	}}
	if mptcp {
		config.SetMultipathTCP(true)
	}
	return config.Listen(context.Background(), "tcp", address)
}

func answer(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(conn, "%s %d\n", os.Getenv("SOCKDIST_SLOT"), os.Getpid())
		conn.Close()
	}
}
