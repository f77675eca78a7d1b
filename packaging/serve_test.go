package packaging

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
)

// daemon is sockdist.service on a machine, with the app web.
type daemon struct{ *service }

const (
	daemonUnit   = "sockdist.service"
	daemonSocket = "sockdist.socket"
	daemonFile   = "/etc/sockdist/sockdist.yaml"
)

func installDaemon(t *testing.T) daemon {
	t.Helper()
	d := daemon{installService(t)}
	d.need("serve")
	d.write("/etc/systemd/system/sockdist.service.d/test.conf",
		fmt.Sprintf("[Service]\nStandardOutput=append:%s\nStandardError=append:%[1]s\nWatchdogSec=%v\n", logFile, watchdog))
	d.set(2, "")
	d.run("systemctl", "daemon-reload")
	t.Cleanup(func() {
		if t.Failed() {
			status, _ := d.try("systemctl", "status", "--lines=0", daemonUnit)
			t.Log(status)
		}
	})
	return d
}

// set writes the configuration.
func (d daemon) set(workers int, mark string) {
	d.Helper()
	d.write(daemonFile, fmt.Sprintf(`
apps:
  web:
    command: [/srv/server]
    workers: %d
    ports: [3000]
    user: www-data
    grace: 5s
    env: {%s: %s, MARK: "%s"}
groups:
  api: {listen: "127.0.0.1:3001", users: [www-data]}
attach:
  other: {address: ":3002"}
`, workers, role, roleServer, mark))
}

func (d daemon) pid() string {
	d.Helper()
	return d.property(daemonUnit, "MainPID")
}

func (d daemon) replaced(old string) {
	d.Helper()
	d.eventually("there is another daemon", func() error {
		if pid := d.pid(); pid == old || pid == "0" {
			return errors.New("not yet")
		}
		return d.active()
	})
}

func (d daemon) active() error {
	if state := d.property(daemonUnit, "ActiveState"); state != "active" {
		return fmt.Errorf("the unit is %s", state)
	}
	return nil
}

// The daemon under a real systemd, from its start to its end, with its socket
// held by a socket unit.
func TestServeUnit(t *testing.T) {
	t.Parallel()
	d := installDaemon(t)
	d.run("systemctl", "start", daemonSocket)
	if info, err := os.Stat(d.path("/run/sockdist/control")); err != nil || info.Mode().Perm() != 0o660 {
		t.Fatalf("the control socket: %v, %v", info, err)
	}
	d.run("/srv/sockdist", "apply") // which starts the daemon
	d.eventually("the daemon is active", d.active)
	d.eventually("the app serves", d.serves)
	workers := d.workers(2)
	status := d.property(daemonUnit, "StatusText")
	for _, want := range []string{"app web workers: 2 serving", "group api open", "attach other waits for its server"} {
		if !strings.Contains(status, want) {
			t.Errorf("the status is %q, without %q", status, want)
		}
	}

	for what, do := range map[string]func(old string){
		"killed":    func(old string) { d.run("kill", "-9", old) },
		"restarted": func(string) { d.run("systemctl", "restart", daemonUnit) },
		"hangs":     func(old string) { d.run("kill", "-STOP", old) },
	} {
		old := d.pid()
		d.underLoad(func() {
			do(old)
			d.replaced(old)
		})
		if now := d.workers(2); !slices.Equal(now, workers) {
			t.Errorf("%s: the workers were %v, they are %v", what, workers, now)
		}
	}

	d.set(3, "changed")
	d.underLoad(func() { d.run("systemctl", "reload", daemonUnit) })
	for _, pid := range d.workers(3) {
		if slices.Contains(workers, pid) {
			t.Errorf("worker %s is still there after the reload", pid)
		}
		if environment := d.run("cat", "/proc/"+pid+"/environ"); !strings.Contains(environment, "\x00MARK=changed\x00") || strings.Contains(environment, "LISTEN_FDS") {
			t.Errorf("worker %s has the environment %q", pid, environment)
		}
	}
	workers = d.workers(3)
	d.write(daemonFile, "apps: {web: {}}")
	if text, err := d.try("systemctl", "reload", daemonUnit); err == nil {
		t.Errorf("a bad file was taken: %s", text)
	}
	d.eventually("the unit is active again", d.active)
	if now := d.workers(3); !slices.Equal(now, workers) {
		t.Errorf("after a bad file the workers were %v, they are %v", workers, now)
	}

	begun := time.Now()
	d.run("systemctl", "stop", daemonSocket, daemonUnit)
	t.Logf("stopped in %v", time.Since(begun).Round(time.Millisecond))
	if state := d.property(daemonUnit, "ActiveState"); state != "inactive" {
		t.Errorf("the unit is %s", state)
	}
	if left := d.processes("sockdist"); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	d.run("/srv/sockdist", "detach", "--all")
	if _, err := os.Stat(d.path("/sys/fs/bpf/sockdist")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pins are left: %v", err)
	}
}

// A socket unit of an app holds its port over stops and starts of the daemon.
func TestActivatedServeUnit(t *testing.T) {
	t.Parallel()
	d := installDaemon(t)
	d.write("/etc/systemd/system/web.socket", "[Socket]\nListenStream=3000\nReusePort=yes\nBacklog=4096\nService=sockdist.service\nFileDescriptorName=web\n")
	d.run("systemctl", "daemon-reload")
	d.run("systemctl", "start", "web.socket")
	ctx, end := context.WithCancel(t.Context())
	defer end()
	ledgers := make(chan clients.Ledger, 1)
	go func() {
		client := clients.Client{Ask: clients.Echo, In: d.ns, Timeout: patience}
		ledgers <- client.Load(ctx, port, clients.Limits{Count: 1_000_000, Duration: patience, Rate: 200})
	}()
	for range 2 {
		d.eventually("connections start the daemon", d.active)
		workers, old := d.workers(2), d.pid()
		d.run("kill", "-9", old)
		d.replaced(old)
		if now := d.workers(2); !slices.Equal(now, workers) {
			t.Errorf("the workers were %v, they are %v", workers, now)
		}
		d.run("/srv/sockdist", "reload", "web")
		d.run("systemctl", "stop", daemonUnit)
	}
	d.eventually("connections start the daemon again", d.active)
	end()
	ledger := <-ledgers
	t.Log(ledger)
	if len(ledger.Lost()) > 0 {
		t.Error("connections were lost")
	}
	if text := d.run("/srv/sockdist", "status"); strings.Contains(text, "without a slot") {
		t.Errorf("systemd's socket is taken for a stranger:\n%s", text)
	}
	d.run("systemctl", "stop", "web.socket", daemonUnit)
	d.run("/srv/sockdist", "detach", "--all")
	if strings.Contains(d.read(logFile), "is for nothing") {
		t.Error("the socket was taken for nobody's")
	}
}
