package membership

import (
	"net/netip"
	"testing"

	"github.com/sockdist/sockdist/internal/clients"
)

// Groups of either family, and of both, with wildcards and without.
func TestFamilies(t *testing.T) {
	for name, c := range map[string]struct {
		listen  string
		v6Only  bool
		clients []string
		refused []string
	}{
		"IPv4":          {"127.0.0.1", false, []string{"127.0.0.1"}, []string{"::1", "127.0.0.2"}},
		"IPv4 wildcard": {"0.0.0.0", false, []string{"127.0.0.1", "127.0.0.2"}, []string{"::1"}},
		"IPv6":          {"::1", false, []string{"::1"}, []string{"127.0.0.1"}},
		"dual":          {"::", false, []string{"::1", "127.0.0.1"}, nil},
		"IPv6 wildcard": {"::", true, []string{"::1"}, []string{"127.0.0.1"}},
		"IPv4 in IPv6":  {"::ffff:127.0.0.1", false, []string{"127.0.0.1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			address := newAddress()
			at := func(host string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(host), address.Port()) }
			w := newWorld(t, func(config *Config) { config.Listen, config.V6Only = at(c.listen), c.v6Only })
			workers := w.workers(2)
			serve := func() {
				t.Helper()
				for _, host := range c.clients {
					held := clients.Hold(t, at(host), 10)
					if got := held.PIDs(); got[workers[0].pid()] != 5 || got[workers[1].pid()] != 5 {
						t.Errorf("from %s: %v", host, got)
					}
					held.Close()
					w.until("they are closed", func() bool { return w.slot(0).Connections+w.slot(1).Connections == 0 })
				}
				for _, host := range c.refused {
					if got := clients.Load(t.Context(), at(host), clients.Limits{Count: 1}); len(got.With(clients.Refused)) != 1 {
						t.Errorf("from %s: %v", host, got)
					}
				}
			}
			serve()
			w.close()
			w.open()
			for _, worker := range workers {
				worker.says("again") // with its own listener, which is checked
			}
			serve()
		})
	}
}
