package sockets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/privilege"
)

const nginxConfiguration = `
daemon off;
worker_processes %d;
pid %s/pid;
error_log %[2]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	server {
		listen 8080%s;
		return 204;
	}
}
`

// startNginx starts nginx in the calling thread's namespace, on port 8080, and
// returns its master.
func startNginx(t *testing.T, workers int, flags string) *os.Process {
	t.Helper()
	program, folder := privilege.Tool(t, "nginx"), t.TempDir()
	path := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(path, fmt.Appendf(nil, nginxConfiguration, workers, folder, flags), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", path, "-p", folder)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The master takes its workers along.
		_ = cmd.Process.Signal(syscall.SIGTERM)
		giveUp := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer giveUp.Stop()
		_ = cmd.Wait()
	})
	return cmd.Process
}

// TestNginxReusePort looks at a master that holds all listeners, of which each
// worker polls one.
func TestNginxReusePort(t *testing.T) {
	const workers = 3
	ns := netns.New(t)
	err := ns.Do(func() error {
		master := startNginx(t, workers, " reuseport")

		var listeners []Listener
		var servers map[int]bool
		eventually(t, "each worker at its listener", func() bool {
			var err error
			if listeners, err = Listeners(mustParse(t, ":8080")); err != nil {
				t.Fatal(err)
			}
			holders, err := Holders(inodesOf(listeners))
			if err != nil {
				t.Fatal(err)
			}
			servers = make(map[int]bool)
			for _, l := range listeners {
				if server := Server(holders[l.Inode]); server.PollsIt && len(holders[l.Inode]) > 1 {
					servers[server.PID] = true
				}
			}
			return len(listeners) == workers && len(servers) == workers
		})
		if servers[master.Pid] {
			t.Error("the master serves")
		}

		for _, l := range listeners {
			s, err := l.Fetch(Server(holdersOf(t, l.Inode)))
			if err != nil {
				return err
			}
			defer s.Close()
			if d, err := Describe(s.FD()); err != nil || !d.ReusePort || d.UID != l.UID {
				t.Errorf("%+v, %v", d, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNginxSharedListener looks at one listener that every worker polls.
func TestNginxSharedListener(t *testing.T) {
	const workers = 2
	ns := netns.New(t)
	err := ns.Do(func() error {
		master := startNginx(t, workers, "")
		eventually(t, "all workers at the listener", func() bool {
			listeners, err := Listeners(mustParse(t, ":8080"))
			if err != nil {
				t.Fatal(err)
			}
			if len(listeners) != 1 {
				return false
			}
			polling := 0
			holders := holdersOf(t, listeners[0].Inode)
			for _, h := range holders {
				if h.PollsIt {
					polling++
				}
			}
			return polling == workers && len(holders) == workers+1 && Server(holders).PID != master.Pid
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
