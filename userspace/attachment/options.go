package attachment

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// Options say which listening sockets to steer, and how. Address is needed; the
// zero value of every other field is good.
type Options struct {
	// Address has a port. One without a host means the wildcards of both
	// families, which are two groups if both are there.
	Address sockets.Address
	// Name is the group's, by loader.CheckName; of two groups the IPv6 one
	// gets -v6 after it. "" means the name that the group has, and [DefaultName]
	// for a new one.
	Name string
	// Policy is the group's; nil means the one that it has, and loader.Least
	// for a new one.
	Policy *loader.Policy
	// PIDs restricts to the sockets that these processes hold. Sockets of the
	// group that others hold get no slot, and so no connections.
	PIDs []int
	// NetNS is the network namespace, as sockets.In has it. "" means that of
	// PIDs, and without PIDs the calling thread's.
	NetNS string
	// Refreshed says that the programs are those of this sockdist already: whoever
	// attaches often has called Host.Refresh, which looks at every group, once.
	Refreshed bool
}

func (o Options) check() error {
	if o.Address.Port == 0 {
		return fmt.Errorf("%s has no port: %w", o.Address, sockets.ErrAddress)
	}
	if o.Name == "" {
		return nil
	}
	return loader.CheckName(o.Name)
}

// namespace is a network namespace that can be entered again and again, for as
// long as it lives.
type namespace struct {
	inode uint64
	name  string // as sockets.In has it; "" for the caller's own
}

func (o Options) namespace() (namespace, error) {
	own, _, err := sockets.NetNSOf(0)
	if err != nil {
		return namespace{}, err
	}
	ns := namespace{inode: own}
	if o.NetNS != "" {
		if ns, err = namespaceOf(o.NetNS); err != nil {
			return namespace{}, err
		}
	}
	for i, pid := range o.PIDs {
		inode, _, err := sockets.NetNSOf(pid)
		switch {
		case err != nil:
			return namespace{}, err
		case i == 0 && o.NetNS == "":
			ns = namespace{inode: inode, name: strconv.Itoa(pid)}
		case inode != ns.inode:
			return namespace{}, fmt.Errorf("process %d is in another network namespace%s: attach each namespace by itself", pid, than(o))
		}
	}
	if ns.inode == own {
		ns.name = ""
	}
	return ns, nil
}

func than(o Options) string {
	if o.NetNS != "" {
		return " than " + o.NetNS
	}
	return fmt.Sprintf(" than process %d", o.PIDs[0])
}

func namespaceOf(name string) (namespace, error) {
	ns := namespace{name: name}
	err := sockets.In(name, func() (err error) {
		ns.inode, _, err = sockets.NetNSOf(0)
		return err
	})
	return ns, err
}

// errOtherNamespace: the name means another namespace by now.
var errOtherNamespace = errors.New("another network namespace by now")

// do runs f in the namespace. If its name means another one by now, as the PID
// of a process that ended does, it is looked for by its number.
func (ns namespace) do(f func() error) error {
	if ns.name == "" {
		return f()
	}
	entered, err := ns.enter(ns.name, f)
	if entered {
		return err
	}
	path, findErr := sockets.FindNetNS(ns.inode)
	if findErr != nil {
		return errors.Join(findErr, err)
	}
	_, err = ns.enter(path, f)
	return err
}

func (ns namespace) enter(name string, f func() error) (entered bool, err error) {
	err = sockets.In(name, func() error {
		here, _, err := sockets.NetNSOf(0)
		if err != nil {
			return err
		}
		if here != ns.inode {
			return fmt.Errorf("%s: %w", name, errOtherNamespace)
		}
		entered = true
		return f()
	})
	return entered, err
}
