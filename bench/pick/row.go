package pick

import (
	"fmt"
	"math/rand/v2"

	"github.com/sockdist/sockdist/loader"
)

// A kind is what one row of the table measures.
type kind struct {
	name   string
	policy loader.Policy
	floor  loader.Floor
	bare   bool // floor instead of policy
	mixed  bool // weights from 100 to 300, so that ties are few
	loads  bool // every worker publishes a load, and changes it all the time
}

const (
	clockRow = "empty program"
	floorRow = "hash-select"
	leastRow = "least"
)

var kinds = []kind{
	{name: clockRow, bare: true, floor: loader.Nothing},
	{name: floorRow, bare: true, floor: loader.BareHash},
	{name: leastRow, policy: loader.Least},
	{name: "p2c", policy: loader.P2C},
	{name: "rr", policy: loader.RR},
	{name: "random", policy: loader.Random},
	{name: "hash", policy: loader.Hash},
	{name: "least, mixed weights", policy: loader.Least, mixed: true},
	{name: "least, all publish loads", policy: loader.Least, loads: true},
}

// A row is a group of its own, its connections, and the program that chooses.
type row struct {
	kind
	group       *loader.Group
	program     *loader.Program
	listeners   *listeners
	connections *population
}

// A size is how many slots a group has, and how many connections each of them
// has on average.
type size struct {
	slots, perSlot int
}

// newRow makes a group. What was made stays with the row, for close, also on an error.
func newRow(host *loader.Host, k kind, of size, server *server) (r *row, err error) {
	r = &row{kind: k}
	if r.listeners, err = listen(of.slots); err != nil {
		return r, err
	}
	if err := server.watch(r.listeners); err != nil {
		return r, err
	}
	name := fmt.Sprintf("pick-%d", r.listeners.address.Port())
	r.group, err = host.CreateGroup(loader.GroupSpec{Name: name, Address: r.listeners.address, Policy: k.policy})
	if err != nil {
		return r, err
	}
	for slot, fd := range r.listeners.fds {
		if _, err := r.group.Add(slot, loader.Listener{FD: fd, Reports: k.loads}); err != nil {
			return r, err
		}
		if !k.mixed {
			continue
		}
		if err := r.group.SetWeight(slot, 100+50*(slot%5)); err != nil {
			return r, err
		}
	}
	r.connections = newPopulation(r.listeners.address, of.perSlot*of.slots)
	return r, r.steer()
}

func (r *row) steer() (err error) {
	fd := r.listeners.fds[0]
	if r.bare {
		r.program, err = r.group.SteerByFloor(fd, r.floor)
		return err
	}
	if err := r.group.Steer(fd); err != nil {
		return err
	}
	r.program, err = r.group.Steering()
	return err
}

// turn makes n connections, with what else goes on in a group of its kind.
func (r *row) turn(n int) error {
	if r.loads {
		for slot := range r.listeners.fds {
			if err := r.group.Publish(slot, rand.Uint64N(4)); err != nil {
				return err
			}
		}
	}
	for range n {
		if err := r.connections.next(); err != nil {
			return err
		}
	}
	return nil
}

// close removes all of it, the group's pins too.
func (r *row) close() error {
	if r.connections != nil {
		r.connections.close()
	}
	if r.program != nil {
		r.program.Close()
	}
	if r.listeners != nil {
		r.listeners.close()
	}
	if r.group == nil {
		return nil
	}
	defer r.group.Close()
	return r.group.Destroy()
}
