package packaging

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/systemd"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// rescue is a service with a socket unit, without sockdist's programs: the
// kernel migrates by itself here (net.ipv4.tcp_migrate_req). It listens beside
// the manager's socket and takes over, again and again, what waits there.
func rescue() {
	if err := rescueAndServe(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func rescueAndServe() error {
	manager, err := systemd.FromEnvironment()
	if err != nil {
		return err
	}
	listeners := manager.Listeners()
	if len(listeners) != 1 {
		return fmt.Errorf("%d sockets came from systemd", len(listeners))
	}
	given := listeners[0]
	fmt.Println("given", given.Name)

	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}), err)
	}}
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), "tcp", ":3000")
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	var rescues sync.WaitGroup
	rescues.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
				// Without a program that keeps it out, the hash picks it too.
				if err := sockets.Rescue(int(given.File.Fd()), 4096); err != nil {
					fmt.Println(err)
				}
			}
		}
	})
	manager.Ready("serving")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	go func() {
		<-stop
		manager.Stopping("")
		close(ended)
		rescues.Wait() // or it would move the queue to nobody
		_ = listener.Close()
	}()
	answer(listener)
	manager.Close()
	return nil
}

// A socket unit holds the port while the service starts, serves, has ended and
// starts again, though the service shuts the socket and listens on it again
// all the time.
func TestSocketUnit(t *testing.T) {
	t.Parallel()
	m := boot(t)
	self, err := os.Executable()
	m.must(err)
	m.install(self, "/srv/server")
	texts, err := units()
	m.must(err)
	m.write("/etc/systemd/system/sockdist@.socket", texts["sockdist@.socket"])
	m.write("/etc/systemd/system/sockdist@web.socket.d/listen.conf", "[Socket]\nListenStream=3000\n")
	m.write("/etc/systemd/system/"+unit, fmt.Sprintf("[Service]\nType=notify\nExecStart=/srv/server\n"+
		"Environment=%s=%s\nStandardOutput=append:%s\n", role, roleRescue, logFile))
	m.must(m.ns.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/tcp_migrate_req", []byte("1"), 0)
	}))
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "start", socket)
	t.Cleanup(func() {
		if t.Failed() {
			status, _ := m.try("systemctl", "status", "--lines=0", unit, socket)
			text, _ := os.ReadFile(m.path(logFile))
			t.Logf("%s\nlog:\n%s", status, text)
		}
	})
	if state := m.property(socket, "SubState"); state != "listening" {
		t.Fatalf("the socket unit is %s", state)
	}

	ctx, end := context.WithCancel(t.Context())
	defer end()
	ledgers := make(chan clients.Ledger, 1)
	go func() {
		client := clients.Client{Ask: clients.Echo, In: m.ns, Timeout: patience}
		ledgers <- client.Load(ctx, port, clients.Limits{Count: 1_000_000, Duration: patience, Rate: 200})
	}()
	for range 3 {
		m.eventually("connections start the service", func() error {
			if state := m.property(unit, "ActiveState"); state != "active" {
				return fmt.Errorf("it is %s", state)
			}
			return nil
		})
		time.Sleep(200 * time.Millisecond) // for some rescues under load
		m.run("systemctl", "stop", unit)
	}
	m.eventually("connections start the service again", func() error {
		if state := m.property(unit, "ActiveState"); state != "active" {
			return fmt.Errorf("it is %s", state)
		}
		return nil
	})
	end()
	ledger := <-ledgers
	t.Log(ledger)
	if len(ledger.Lost()) > 0 {
		t.Error("connections were lost")
	}
	if state := m.property(socket, "SubState"); state != "running" {
		t.Errorf("with the service, the socket unit is %s", state)
	}
	text := m.read(logFile)
	if strings.Count(text, "given "+socket) < 4 {
		t.Errorf("the service wasn't given its socket each time:\n%s", text)
	}
}
