package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// A claim is what one of the file's sections takes for itself.
type claim struct {
	key  string // such as groups.api
	mark Mark
}

// findConflicts looks for what can't be together.
func (r *reader) findConflicts(f *File) {
	r.findNames(f)
	r.findAddresses(f)
	if f.Socket.Path != "" {
		return
	}
	for _, a := range f.Apps {
		if a.Name == SocketName {
			r.problem(a.Mark, join("apps", a.Name), "an app's folder of this name is where the daemon's socket is: take another name, or another path for the socket")
		}
	}
}

// findNames looks for what would have the same name in the kernel.
func (r *reader) findNames(f *File) {
	taken := make(map[string]claim)
	claims := func(name string, c claim) {
		other, twice := taken[name]
		switch {
		case !twice:
			taken[name] = c
		case other.key == c.key:
		default:
			r.problem(c.mark, c.key, "the name %s is that of %s already (line %d): names are for all sections together", name, other.key, other.mark.Line)
		}
	}
	for _, a := range f.Apps {
		c := claim{join("apps", a.Name), a.Mark}
		claims(a.Name, c)
		ports, _ := ParsePorts(a.Ports)
		for _, port := range ports { // its groups
			name := fmt.Sprintf("%s-%d", a.Name, port)
			claims(name[:min(len(name), loader.MaxName)], c)
		}
	}
	for _, g := range f.Groups {
		claims(g.Name, claim{join("groups", g.Name), g.Mark})
	}
	for _, a := range f.Attach {
		c := claim{join("attach", a.Name), a.Mark}
		for _, name := range AttachedNames(a.Name) {
			claims(name, c)
		}
	}
}

// AttachedNames are what the groups of an attachment may be called: there are
// several when an address means sockets of both families.
func AttachedNames(name string) []string {
	return []string{name, name + "-v4", name + "-v6", name + "-v6only"}
}

// A spot is where somebody listens.
type spot struct {
	claim
	host   netip.Addr // the zero Addr: anywhere
	port   uint16
	v6only bool
	netns  string
}

// findAddresses looks for two that would share an address.
func (r *reader) findAddresses(f *File) {
	var spots []spot
	for _, a := range f.Apps {
		ports, _ := ParsePorts(a.Ports)
		for i, port := range ports {
			if slices.Contains(ports[:i], port) {
				r.problem(a.Mark, join("apps", a.Name), "port %d is listed twice", port)
				continue
			}
			spots = append(spots, spot{claim: claim{join("apps", a.Name), a.Mark}, port: port})
		}
	}
	for _, g := range f.Groups {
		if g.Listen.IsValid() {
			spots = append(spots, spot{claim: claim{join("groups", g.Name), g.Mark}, host: g.Listen.Addr(), port: g.Listen.Port(), v6only: g.V6Only})
		}
	}
	for _, a := range f.Attach {
		if a.Address != (sockets.Address{}) {
			s := spot{claim: claim{join("attach", a.Name), a.Mark}, host: a.Address.Host, port: a.Address.Port, netns: a.NetNS}
			if !s.host.IsValid() {
				s.host = netip.IPv6Unspecified() // and IPv4, too
			}
			spots = append(spots, s)
		}
	}
	for i, one := range spots {
		for _, other := range spots[:i] {
			if one.key != other.key && one.meets(other) {
				r.problem(one.mark, one.key, "%s has port %d of the same address already (line %d): leave one of them out", other.key, one.port, other.mark.Line)
			}
		}
	}
}

// meets tells whether both would share connections. An address beside the
// wildcard is fine: it gets its own, and the wildcard the rest.
func (s spot) meets(other spot) bool {
	if s.port != other.port || s.netns != other.netns {
		return false
	}
	if !s.host.IsValid() || !other.host.IsValid() || s.host == other.host {
		return true
	}
	if !s.host.IsUnspecified() || !other.host.IsUnspecified() {
		return false
	}
	return s.host.Is6() && !s.v6only || other.host.Is6() && !other.v6only
}
