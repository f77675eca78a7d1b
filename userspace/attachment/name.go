package attachment

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// DefaultName is the name of a group that nobody named: "443" for a wildcard,
// "127-0-0-1-443" or "v6-::1-443" for any other address.
func DefaultName(address netip.AddrPort) string {
	port, host := strconv.Itoa(int(address.Port())), address.Addr().Unmap()
	switch {
	case host.IsUnspecified():
		return port
	case host.Is4():
		return strings.ReplaceAll(host.String(), ".", "-") + "-" + port
	}
	return "v6-" + host.String() + "-" + port
}

// nameFor chooses the name of a new group. Of several groups of one address,
// siblings, each gets the base or what tells it apart from those that have it.
func (a *attempt) nameFor(k kernelGroup, siblings []kernelGroup) (string, error) {
	base := a.options.Name
	if base == "" {
		base = DefaultName(k.key.Address)
	}
	candidates := []string{base + suffix(k.key), base + "-v6only"}
	first := slices.IndexFunc(siblings, func(s kernelGroup) bool { return s.key == k.key }) == 0
	if first {
		candidates = slices.Insert(candidates, 0, base)
	}
	for _, name := range candidates {
		switch g := a.called(name); {
		case g != nil && a.isSibling(*g):
			continue
		case g != nil:
			return "", fmt.Errorf("%s %w: %s%s has it; choose another with --name", name, ErrName, g.spec.Address, a.elsewhereOf(*g))
		case slices.Contains(a.apps, name):
			return "", fmt.Errorf("%s %w: an app has it; choose another with --name", name, ErrName)
		}
		return name, nil
	}
	return "", fmt.Errorf("%s %w: groups of the same address have it and its variants; choose another with --name", base, ErrName)
}

func suffix(key sockets.Group) string {
	if key.Address.Addr().Is4() {
		return "-v4"
	}
	return "-v6"
}

// isSibling tells whether the group is one that the same address means.
func (a *attempt) isSibling(g known) bool {
	return g.spec.NetNS == a.ns.inode && g.spec.App == "" &&
		a.options.Address.Matches(sockets.Listener{Address: g.spec.Address, V6Only: g.spec.V6Only})
}

func (a *attempt) elsewhereOf(g known) string {
	if g.spec.NetNS == a.ns.inode {
		return ""
	}
	return " in another network namespace"
}

// checkNamed is for a group that is there already, when a name was given.
func (a *attempt) checkNamed(g known, key sockets.Group) error {
	base := a.options.Name
	if base == "" || g.name == base || g.name == base+suffix(key) || g.name == base+"-v6only" {
		return nil
	}
	return fmt.Errorf("%s %w: %s is steered as %s already; leave --name out, or sockdist detach %[4]s first", base, ErrName, g.spec.Address, g.name)
}
