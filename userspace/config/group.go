package config

import (
	"net/netip"
	"strings"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/sockets"
)

const (
	// DefaultSlots is how many workers a library group takes unless the file says.
	DefaultSlots = 64
	// MostSlots is how many it can take.
	MostSlots = loader.MaxSlots - 1
)

// readGroup reads a library group.
func (r *reader) readGroup(name string, p place) Group {
	g := Group{Name: name, Policy: loader.Least, Slots: DefaultSlots, HangAfter: control.DefaultHangAfter, Activation: name, Mark: p.mark}
	r.checkName(name, p)
	listens := false
	isObject := r.object(p, fields{
		"listen": func(p place) {
			listens = true
			g.Listen, g.V6Only = r.listen(p)
		},
		"policy": func(p place) { set(&g.Policy)(r.policy(p)) },
		"slots":  func(p place) { set(&g.Slots)(r.number(p, 1, MostSlots)) },
		"users":  func(p place) { g.UIDs = r.ids(p, "[deploy]", r.accounts.user) },
		"groups": func(p place) { g.GIDs = r.ids(p, "[www-data]", r.accounts.group) },
		"hang-after": func(p place) {
			after, ok := r.duration(p)
			if ok && after < 0 {
				r.wrong(p, "%v: must be at least %v", after, time.Duration(0))
			}
			set(&g.HangAfter)(after, ok)
		},
		"activation": func(p place) { set(&g.Activation)(r.text(p)) },
	})
	if isObject && !listens {
		r.wrong(p, "has no address: say where its workers listen, such as listen: 127.0.0.1:8080")
	}
	return g
}

func (r *reader) checkName(name string, p place) {
	if err := loader.CheckName(name); err != nil {
		r.wrong(p, "%v", err)
	}
}

func (r *reader) policy(p place) (loader.Policy, bool) {
	text, ok := r.text(p)
	if !ok {
		return 0, false
	}
	policy, err := loader.ParsePolicy(text)
	if err != nil {
		r.wrong(p, "%v", err)
		return 0, false
	}
	return policy, true
}

func (r *reader) address(p place) (sockets.Address, string) {
	text, ok := r.text(p)
	if !ok {
		return sockets.Address{}, ""
	}
	address, err := sockets.ParseAddress(text)
	if err != nil {
		r.wrong(p, "%v", err)
		return sockets.Address{}, ""
	}
	return address, text
}

// listen reads where a group listens. Without a host it is both families at
// once, as [::]:80 is; tcp6://:80 is IPv6 alone.
func (r *reader) listen(p place) (at netip.AddrPort, v6only bool) {
	address, text := r.address(p)
	if text == "" {
		return at, false
	}
	host := address.Host
	if !host.IsValid() {
		host = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(host, address.Port), host == netip.IPv6Unspecified() && strings.HasPrefix(text, "tcp6://")
}
