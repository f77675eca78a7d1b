package attachment

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// A listener is a listening socket and who has it.
type listener struct {
	sockets.Listener
	server  sockets.Holder
	holders []sockets.Holder
}

// A kernelGroup is what the kernel has: sockets that share their connections.
type kernelGroup struct {
	key       sockets.Group
	listeners []listener // by the PIDs of their servers
	leftOut   []listener // which nobody holds, as far as one can see, or not who was asked for
}

// scan looks for what listens in the calling thread's network namespace.
func (o Options) scan() ([]kernelGroup, error) {
	found, err := sockets.Listeners(o.Address)
	if err != nil {
		return nil, err
	}
	return o.group(found)
}

// group puts together what belongs together.
func (o Options) group(found []sockets.Listener) ([]kernelGroup, error) {
	if len(found) == 0 {
		return nil, nil
	}
	all, err := withHolders(found)
	if err != nil {
		return nil, err
	}
	var groups []kernelGroup
	for _, l := range all {
		i := slices.IndexFunc(groups, func(g kernelGroup) bool { return g.key == l.Group() })
		if i < 0 {
			i = len(groups)
			groups = append(groups, kernelGroup{key: l.Group()})
		}
		if o.wants(l) {
			groups[i].listeners = append(groups[i].listeners, l)
		} else {
			groups[i].leftOut = append(groups[i].leftOut, l)
		}
	}
	slices.SortFunc(groups, func(a, b kernelGroup) int { return compareKeys(a.key, b.key) })
	return groups, nil
}

// wants tells whether somebody holds the listener, one of those that were asked for.
func (o Options) wants(l listener) bool {
	return len(o.PIDs) == 0 && len(l.holders) > 0 || slices.ContainsFunc(l.holders, func(h sockets.Holder) bool {
		return slices.Contains(o.PIDs, h.PID)
	})
}

// compareKeys puts IPv4 first, then dual-stack, then IPv6 alone.
func compareKeys(a, b sockets.Group) int {
	rank := func(k sockets.Group) int {
		switch {
		case k.Address.Addr().Is4():
			return 0
		case !k.V6Only:
			return 1
		}
		return 2
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), a.Address.Compare(b.Address), cmp.Compare(a.Interface, b.Interface))
}

// withHolders adds who has the sockets, and sorts them by who serves them.
func withHolders(found []sockets.Listener) ([]listener, error) {
	inodes := make([]uint32, len(found))
	for i, l := range found {
		inodes[i] = l.Inode
	}
	holders, err := holdersOf(inodes)
	if err != nil {
		return nil, err
	}
	all := make([]listener, len(found))
	for i, l := range found {
		who := holders[l.Inode]
		all[i] = listener{Listener: l, server: sockets.Server(who), holders: who}
	}
	slices.SortStableFunc(all, func(a, b listener) int {
		return cmp.Or(cmp.Compare(a.server.PID, b.server.PID), cmp.Compare(a.Inode, b.Inode))
	})
	return all, nil
}

const (
	hiddenTries = 3
	hiddenAgain = 10 * time.Millisecond
)

// holdersOf looks again if sockets seem to be hidden: for a moment, those of a
// process that ends are.
func holdersOf(inodes []uint32) (holders map[uint32][]sockets.Holder, err error) {
	for range hiddenTries {
		var hidden *sockets.HiddenError
		if holders, err = sockets.Holders(inodes); !errors.As(err, &hidden) {
			break
		}
		time.Sleep(hiddenAgain)
	}
	return holders, err
}

// with calls do with a descriptor of the listener, which is closed right after:
// one that stays would keep the listener open when its server ends. The error
// is errGone if nobody has it any more.
func (l listener) with(do func(fd int) error) error {
	from := slices.Clone(l.holders)
	slices.SortStableFunc(from, func(a, b sockets.Holder) int {
		return cmp.Compare(b2i(b.PID == l.server.PID), b2i(a.PID == l.server.PID))
	})
	for _, h := range from {
		s, err := l.Fetch(h)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		defer s.Close()
		return do(s.FD())
	}
	return fmt.Errorf("%s, inode %d: %w", l.Address, l.Inode, errGone)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// served tells how many processes take connections from the listener.
func (l listener) served() (n int) {
	for _, h := range l.holders {
		if h.PollsIt || h.AcceptsIt {
			n++
		}
	}
	return n
}

// who names the process that serves the listener.
func (l listener) who() string {
	return fmt.Sprintf("%s, process %d", programOf(l.server), l.server.PID)
}

// exactly is the Address that means this one only.
func exactly(a netip.AddrPort) sockets.Address {
	return sockets.Address{Host: a.Addr().Unmap(), Port: a.Port()}
}
