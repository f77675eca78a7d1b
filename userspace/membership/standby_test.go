package membership

import (
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
)

// With a socket of the service manager connections wait for workers, before the
// first, between two, and while there is no daemon.
func TestStandby(t *testing.T) {
	address := newAddress()
	file := listenShared(t, "tcp", address.String())
	w := newWorld(t, func(c *Config) { c.Listen, c.Standby = address, file })
	run := w.load(ledger.Load{Rate: 50, Timeout: patience})
	waiting := func() { w.until("some wait", func() bool { return run.Progress().Open > 10 }) }
	served := func() { w.until("all are served", func() bool { return run.Progress().Open < 5 }) }
	waiting()
	c := w.worker()
	served()
	c.terminate()
	waiting()
	w.close()
	time.Sleep(100 * time.Millisecond)
	w.open()
	c = w.worker()
	served()
	w.until("nothing is left at the standby", func() bool { return w.slot(standbySlot).Connections == 0 })
	w.settle(run)
	c.terminate()
	// A standby that isn't ours any more is a stranger's.
	w.close()
	without := w.config
	without.Standby = nil
	if g, err := Open(w.host.Host, without); err == nil {
		t.Error("opened beside a socket of the service manager that isn't given")
		w.must(g.Close())
	}
	w.open()
	if got := (clients.Client{Timeout: time.Second}).Load(t.Context(), address, clients.Limits{Count: 1}).With(clients.Refused); len(got) != 0 {
		t.Errorf("refused in spite of the standby: %v", got)
	}
}

func TestWrongStandby(t *testing.T) {
	w := newHost(t)
	c := Config{Name: "api", Listen: newAddress(), Slots: 1, Standby: listenShared(t, "tcp", newAddress().String())}
	if g, err := Open(w.host.Host, c); err == nil {
		t.Error("opened with a standby at another address")
		w.must(g.Remove())
	}
}
