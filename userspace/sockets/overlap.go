package sockets

import "net/netip"

// Overlaps tells whether there are connections that either group could get.
func (g Group) Overlaps(other Group) bool {
	if g.Address.Port() != other.Address.Port() {
		return false
	}
	if g.Interface != 0 && other.Interface != 0 && g.Interface != other.Interface {
		return false
	}
	one, two := g.Address.Addr().Unmap(), other.Address.Addr().Unmap()
	return one == two || g.covers(two) || other.covers(one)
}

// covers tells whether the group has a wildcard address that includes this one.
func (g Group) covers(host netip.Addr) bool {
	own := g.Address.Addr().Unmap()
	switch {
	case !own.IsUnspecified():
		return false
	case own.Is4():
		return host.Is4()
	}
	return host.Is6() || !g.V6Only
}
