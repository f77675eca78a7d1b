package attachment

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// refuse tells why a group that was found can't be steered, as far as its
// sockets tell; nil if it can. Of the groups that the address means, it may not
// be the only one.
func (o Options) refuse(k kernelGroup, only bool) error {
	if len(k.listeners) == 0 {
		return o.refuseHolders(k)
	}
	for _, l := range slices.Concat(k.listeners, k.leftOut) {
		if l.MPTCP {
			return fmt.Errorf("%s listens with a %w, which the kernel can't steer; %s", o.subject(l), loader.ErrMPTCP, adviseTCP(l.server))
		}
	}
	if err := k.refuseUsers(); err != nil {
		return err
	}
	if n := len(k.listeners); n > loader.MaxSlots {
		return fmt.Errorf("%s: %d sockets, a group has %d slots: %w; use fewer workers, or --pid for some of them",
			k.key.Address, n, loader.MaxSlots, loader.ErrFull)
	}
	err := o.refuseAlone(k)
	if err != nil && !only {
		return fmt.Errorf("%w; if the other family will do, sockdist attach %s", err, otherFamily(k.key))
	}
	return err
}

// subject names a socket, by its address only where that doesn't go without saying.
func (o Options) subject(l listener) string {
	if o.Address == exactly(l.Address) {
		return l.who()
	}
	return fmt.Sprintf("%s (%s)", l.Address, l.who())
}

// refuseHolders is for sockets of which none is wanted.
func (o Options) refuseHolders(k kernelGroup) error {
	if len(o.PIDs) == 0 {
		return fmt.Errorf("%w that a process is seen to hold; run sockdist in the PID namespace of the server", ErrNobody)
	}
	return fmt.Errorf("%w with a socket of process %s; %s", ErrNobody, joinNumbers(o.PIDs), o.subject(k.leftOut[0])+" does")
}

// refuseUsers is for sockets that the kernel would not have put together: one
// changed hands later.
func (k kernelGroup) refuseUsers() error {
	first := k.listeners[0]
	for _, l := range k.listeners[1:] {
		if l.UID != first.UID {
			return fmt.Errorf("%w, %s of %s and %s of %s; start all workers as the same user",
				ErrUsers, first.who(), userName(first.UID), l.who(), userName(l.UID))
		}
	}
	return nil
}

func userName(uid uint32) string {
	number := strconv.Itoa(int(uid))
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return "user " + number
}

// refuseAlone is for a socket that doesn't share its port.
func (o Options) refuseAlone(k kernelGroup) error {
	for _, l := range k.listeners {
		var d sockets.Description
		err := l.with(func(fd int) (err error) {
			d, err = sockets.Describe(fd)
			return err
		})
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		if d.Listening && !d.ReusePort {
			return fmt.Errorf("%s %w; %s", o.subject(l), loader.ErrNotShared, adviseShare(l.server))
		}
	}
	return nil
}

// otherFamily is the address of the other of two wildcard groups.
func otherFamily(key sockets.Group) string {
	if key.Address.Addr().Is4() {
		return fmt.Sprintf("tcp6://:%d", key.Address.Port())
	}
	return fmt.Sprintf("tcp4://:%d", key.Address.Port())
}

// refuseTwins is for groups that differ by their network device only, which
// has no place in a group's description.
func refuseTwins(found []kernelGroup) error {
	for i, a := range found {
		for _, b := range found[:i] {
			if a.key.Address == b.key.Address && a.key.V6Only == b.key.V6Only {
				return fmt.Errorf("%s is %w: there are sockets for several network devices (SO_BINDTODEVICE), which can't be told apart; "+
					"have the server bind the devices' addresses instead", a.key.Address, ErrAmbiguous)
			}
		}
	}
	return nil
}

// refuseSteered is for sockets that a program steers which isn't their group's;
// have is the group, and was that of another version, or nil.
func (a *attempt) refuseSteered(k kernelGroup, have *known, was *earlier) error {
	for _, l := range slices.Concat(k.listeners, k.leftOut) {
		id, steered := a.steerers[l.Cookie]
		if !steered || (have != nil && slices.Contains(have.programs, id)) {
			continue
		}
		if was != nil {
			if chooses, err := was.chooses(id); chooses || err != nil {
				if err != nil {
					return err
				}
				continue
			}
		}
		if i := slices.IndexFunc(a.known, func(g known) bool { return slices.Contains(g.programs, id) }); i >= 0 {
			return fmt.Errorf("%s is %w: that of the group %s; sockdist detach %[3]s first", a.options.subject(l), loader.ErrSteered, a.known[i].name)
		}
		for _, g := range a.known {
			if g.hidden != nil { // it may be that of a sockdist before this one
				return fmt.Errorf("%s is %w, number %d: %w", a.options.subject(l), loader.ErrSteered, id, g.hidden)
			}
		}
		return fmt.Errorf("%s is %w, %s", a.options.subject(l), loader.ErrSteered, stranger(id))
	}
	return nil
}

func stranger(id uint32) string {
	if id == 0 {
		return "a classic one (SO_ATTACH_REUSEPORT_CBPF); switch that off in the server and restart it"
	}
	return fmt.Sprintf("number %d; `bpftool prog show id %[1]d` tells more: end what attached it, or restart the server", id)
}

// refuseApp is for a group that somebody looks after.
func refuseApp(g known) error {
	if g.library {
		return fmt.Errorf("group %s: %w of sockdist serve, which steers it already", g.name, ErrLibrary)
	}
	if g.spec.App == "" {
		return nil
	}
	return fmt.Errorf("group %s: %w, %s, whose sockdist run steers it already", g.name, ErrApp, g.spec.App)
}

// explainAdd says what to do about a socket that got no slot.
func (o Options) explainAdd(l listener, err error) error {
	switch {
	case errors.Is(err, loader.ErrSteered):
		return fmt.Errorf("%s is %w, which has it in a socket array; end that program, or restart the server", o.subject(l), loader.ErrSteered)
	case errors.Is(err, loader.ErrMPTCP):
		return fmt.Errorf("%s listens with a %w; %s", o.subject(l), loader.ErrMPTCP, adviseTCP(l.server))
	case errors.Is(err, loader.ErrNotShared):
		return fmt.Errorf("%s %w; %s", o.subject(l), loader.ErrNotShared, adviseShare(l.server))
	case errors.Is(err, loader.ErrNotListening):
		return fmt.Errorf("%s %w before bind, but set it later; %s", o.subject(l), loader.ErrNotShared, adviseShare(l.server))
	}
	return fmt.Errorf("%s: %w", l.who(), err)
}

func joinNumbers(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, " or ")
}
