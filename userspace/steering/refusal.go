package steering

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
// sockets tell; nil if it can.
func (k kernelGroup) refuse(o Options) error {
	if len(k.listeners) == 0 {
		return k.refuseHolders(o)
	}
	for _, l := range slices.Concat(k.listeners, k.leftOut) {
		if l.MPTCP {
			return fmt.Errorf("%s (%s): %w, which the kernel can't steer; %s", l.Address, l.who(), loader.ErrMPTCP, adviseTCP(l.server.Comm))
		}
	}
	if err := k.refuseUsers(); err != nil {
		return err
	}
	if n := len(k.listeners); n > loader.MaxSlots {
		return fmt.Errorf("%s: %d sockets, a group has %d slots: %w; use fewer workers, or --pid for some of them",
			k.key.Address, n, loader.MaxSlots, loader.ErrFull)
	}
	return k.refuseAlone(o)
}

// refuseHolders is for sockets of which none is wanted.
func (k kernelGroup) refuseHolders(o Options) error {
	if len(o.PIDs) == 0 {
		return fmt.Errorf("%s: %w that a process is seen to hold; run sockdist in the PID namespace of the server", k.key.Address, ErrNobody)
	}
	return fmt.Errorf("%s: %w with a socket of process %s; %s holds it", k.key.Address, ErrNobody, joinNumbers(o.PIDs), k.leftOut[0].who())
}

// refuseUsers is for sockets that the kernel would not have put together: one
// changed hands later.
func (k kernelGroup) refuseUsers() error {
	first := k.listeners[0]
	for _, l := range k.listeners[1:] {
		if l.UID != first.UID {
			return fmt.Errorf("%s: %w: %s of %s and %s of %s; start all workers as the same user",
				k.key.Address, ErrUsers, first.who(), userName(first.UID), l.who(), userName(l.UID))
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
func (k kernelGroup) refuseAlone(o Options) error {
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
			return fmt.Errorf("%s (%s) %w; %s%s", l.Address, l.who(), loader.ErrNotShared, adviseShare(l.server.Comm), o.orOnly(k))
		}
	}
	return nil
}

// orOnly offers to leave a group out, where the address means two.
func (o Options) orOnly(k kernelGroup) string {
	if o.Address.Host.IsValid() {
		return ""
	}
	other := "tcp4"
	if k.key.Address.Addr().Is4() {
		other = "tcp6"
	}
	return fmt.Sprintf("; if the other family will do, sockdist attach %s://:%d", other, k.key.Address.Port())
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
// have is the group, or nil.
func (k kernelGroup) refuseSteered(steerers map[uint64]uint32, have *known, all []known) error {
	for _, l := range slices.Concat(k.listeners, k.leftOut) {
		id, steered := steerers[l.Cookie]
		if !steered || (have != nil && id == have.program) {
			continue
		}
		if i := slices.IndexFunc(all, func(g known) bool { return g.program == id }); i >= 0 {
			return fmt.Errorf("%s (%s): %w: the group %s has it; sockdist detach %[4]s first", l.Address, l.who(), loader.ErrSteered, all[i].name)
		}
		return fmt.Errorf("%s (%s): %w, %s", l.Address, l.who(), loader.ErrSteered, stranger(id))
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
	if g.spec.App == "" {
		return nil
	}
	return fmt.Errorf("group %s: %w, %s, whose sockdist run steers it already", g.name, ErrApp, g.spec.App)
}

// explainAdd says what to do about a socket that got no slot.
func (l listener) explainAdd(err error) error {
	switch {
	case errors.Is(err, loader.ErrSteered):
		return fmt.Errorf("%s: %w; it is in another program's socket array: end that program, or restart the server", l.who(), err)
	case errors.Is(err, loader.ErrMPTCP):
		return fmt.Errorf("%s: %w; %s", l.who(), err, adviseTCP(l.server.Comm))
	case errors.Is(err, loader.ErrNotShared):
		return fmt.Errorf("%s: %w; %s", l.who(), err, adviseShare(l.server.Comm))
	case errors.Is(err, loader.ErrNotListening):
		return fmt.Errorf("%s: %w: SO_REUSEPORT was set after bind; it has to come before", l.who(), err)
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
