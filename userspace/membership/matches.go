package membership

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/sockdist/sockdist/userspace/wire"
)

// Matches tells whether a worker that wants to join means this group: by its
// name, or else by the address. An empty host is a wildcard, of either family
// with the network tcp; names are not looked up, but for localhost. A group at a
// wildcard address is not meant by one of the machine's own.
func (g *Group) Matches(j wire.Join) bool { return g.Config().Matches(j) }

// Matches is for a group that isn't open: only Name and Listen are looked at.
func (c Config) Matches(j wire.Join) bool {
	if j.Group != "" {
		return j.Group == c.Name
	}
	return means(j.Network, j.Address, c.Listen)
}

func means(network, text string, at netip.AddrPort) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || uint16(number) != at.Port() {
		return false
	}
	switch {
	case network == "tcp4" && !at.Addr().Is4(), network == "tcp6" && at.Addr().Is4():
		return false
	case network != "" && network != "tcp" && network != "tcp4" && network != "tcp6":
		return false
	case host == "":
		return at.Addr().IsUnspecified()
	case host == "localhost":
		return at.Addr() == netip.IPv6Loopback() || at.Addr() == netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	wanted, err := netip.ParseAddr(host)
	return err == nil && wanted.Unmap().WithZone("") == at.Addr()
}
