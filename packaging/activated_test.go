package packaging

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/clients"
)

// The socket unit holds an app's port from before its start to after its end,
// and no connection is lost in between, whatever is started, stopped or killed.
func TestActivatedUnit(t *testing.T) {
	t.Parallel()
	s := installService(t)
	s.write("/etc/systemd/system/"+socket+".d/listen.conf", "[Socket]\nListenStream=3000\n")
	s.run("systemctl", "daemon-reload")
	s.run("systemctl", "start", socket)

	ctx, end := context.WithCancel(t.Context())
	defer end()
	ledgers := make(chan clients.Ledger, 1)
	go func() {
		client := clients.Client{Ask: clients.Echo, In: s.ns, Timeout: patience}
		ledgers <- client.Load(ctx, port, clients.Limits{Count: 1_000_000, Duration: patience, Rate: 200})
	}()
	active := func() error {
		if state := s.property(unit, "ActiveState"); state != "active" {
			return fmt.Errorf("the unit is %s", state)
		}
		return nil
	}
	for range 2 {
		s.eventually("connections start the app", active)
		workers, old := s.workers(2), s.supervisor()
		s.run("kill", "-9", old)
		s.replaced(old)
		s.sameWorkers(workers)
		s.run("systemctl", "reload", unit)
		s.run("systemctl", "stop", unit)
	}
	s.eventually("connections start the app again", active)
	end()
	ledger := <-ledgers
	t.Log(ledger)
	if len(ledger.Lost()) > 0 {
		t.Error("connections were lost")
	}
	if text := s.run("/srv/sockdist", "status"); strings.Contains(text, "without a slot") {
		t.Errorf("systemd's socket is taken for a stranger:\n%s", text)
	}

	s.run("systemctl", "stop", socket, unit)
	for _, what := range []string{unit, socket} {
		if state := s.property(what, "ActiveState"); state != "inactive" {
			t.Errorf("%s is %s", what, state)
		}
	}
	if _, err := os.Stat(s.path("/sys/fs/bpf/sockdist")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pins are left: %v", err)
	}
}
