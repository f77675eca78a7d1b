package loader

import (
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Runs is what the kernel counted of a program while runs were timed.
type Runs struct {
	Count uint64
	Time  time.Duration // the clock's own cost, some 50 ns a run, included
}

// A Program is a BPF program whose cost can be asked for.
type Program struct {
	program *ebpf.Program
}

// TimeRuns makes the kernel time every run of every BPF program of the machine
// until the closer is closed. The error wraps ErrNotSupported.
func TimeRuns() (io.Closer, error) {
	stop, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return nil, &UnsupportedError{Feature: "timing of BPF programs", Err: err, Advice: "run as root"}
	}
	return stop, nil
}

// Runs is what was counted up to now.
func (p *Program) Runs() (Runs, error) {
	stats, err := p.program.Stats()
	if err != nil {
		return Runs{}, fmt.Errorf("read statistics of %s: %w", p.program, err)
	}
	return Runs{Count: stats.RunCount, Time: stats.Runtime}, nil
}

// Close gives the handle up; an attached program goes on.
func (p *Program) Close() error { return p.program.Close() }

// Steering is the group's own program.
func (g *Group) Steering() (*Program, error) {
	program, err := g.program()
	if err != nil {
		return nil, fmt.Errorf("group %s: %w", g.name, err)
	}
	return &Program{program}, nil
}

// Accounting is the program that counts the connections of all groups. The
// error wraps fs.ErrNotExist while there is no group.
func (h *Host) Accounting() (p *Program, err error) {
	defer wrap(&err, "open accounting")
	account, err := loadLink(filepath.Join(h.dir, "host", "account"))
	if err != nil {
		return nil, err
	}
	defer account.Close()
	info, err := account.Info()
	if err != nil {
		return nil, err
	}
	program, err := ebpf.NewProgramFromID(info.Program)
	if err != nil {
		return nil, err
	}
	return &Program{program}, nil
}

// A Floor is a program to hold a pick's cost against.
type Floor int

const (
	// Nothing chooses nothing: what it costs is the clock.
	Nothing Floor = iota
	// BareHash selects a socket by the packet's hash, and does nothing else.
	// All slots up to the highest must be taken, with equal weights.
	BareHash
)

type floorObjects struct {
	Empty *ebpf.Program `ebpf:"bench_empty"`
	Hash  *ebpf.Program `ebpf:"bench_hash"`
}

// SteerByFloor is Steer with another program in the place of the group's own.
func (g *Group) SteerByFloor(fd int, floor Floor) (p *Program, err error) {
	defer wrap(&err, "steer group %s by a floor", g.name)
	var objects floorObjects
	if err := load(&objects, map[string]*ebpf.Map{"slots": g.slots, "sockets": g.sockets}); err != nil {
		return nil, err
	}
	program, other := objects.Empty, objects.Hash
	if floor == BareHash {
		program, other = other, program
	}
	other.Close()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, program.FD()); err != nil {
		program.Close()
		return nil, err
	}
	return &Program{program}, nil
}

// Publish stores the load of a slot, as its worker would.
func (g *Group) Publish(slot int, load uint64) error {
	if slot < 0 || slot >= MaxSlots {
		return fmt.Errorf("group %s: publish load of slot %d: %w", g.name, slot, ErrNoSlot)
	}
	atomic.StoreUint64(&g.load.value.Slot[slot].Load, load)
	return nil
}
