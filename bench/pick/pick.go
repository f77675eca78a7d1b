// Package pick measures what the choice of a slot costs, in nanoseconds.
//
// It opens connections over loopback to groups of some number of sockets, one
// group for each policy, and reads from the kernel's own run statistics how
// long each group's program ran. Beside the policies stand an empty program,
// which is what the kernel's clock costs and is taken off all other figures,
// and a bare hash-select: the least that any program does which selects a
// socket.
//
// It needs root, and times all BPF programs of the machine meanwhile. Its
// groups are pinned in a folder of their own, which is removed at the end.
// Errors wrap loader.ErrNotSupported where the kernel, or this user, can't.
package pick

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sockdist/sockdist/loader"
)

// Options say what to measure, and for how long.
type Options struct {
	Slots  []int         // numbers of slots, 1 to 256
	Length time.Duration // over all numbers of slots; half as much goes into making the groups
	Places int           // the groups are made anew so often: where their sockets lie in memory matters
	// Progress is told before each number of slots. nil: nobody is.
	Progress func(slots int)
}

// The rows that aren't policies.
const (
	Clock   = clockRow // what timing a run costs; the others are without it
	Bare    = floorRow // sockets[hash % n], and nothing else
	Account = "account, a state change"
)

// Measure measures one number of slots after the other.
func Measure(ctx context.Context, o Options) (report *Report, err error) {
	perSlot, err := roomFor(slices.Max(o.Slots))
	if err != nil {
		return nil, err
	}
	host, err := loader.OpenTemporary("pick")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, host.Remove()) }()
	stop, err := loader.TimeRuns()
	if err != nil {
		return nil, err
	}
	defer stop.Close()

	report = newReport(perSlot, o.Places)
	for _, n := range o.Slots {
		if o.Progress != nil {
			o.Progress(n)
		}
		column, err := measure(ctx, host.Host, size{n, perSlot}, o.lengthFor(n), o.Places)
		if err != nil {
			return nil, fmt.Errorf("%d slots: %w", n, err)
		}
		report.Columns = append(report.Columns, column)
	}
	report.judge()
	return report, nil
}

// lengthFor is how long to measure n slots. Large groups get more of the time:
// they have the targets, and more memory whose place is a matter of luck.
func (o Options) lengthFor(n int) time.Duration {
	share := func(n int) float64 {
		if n < 64 {
			return 1
		}
		return 3
	}
	all := 0.0
	for _, slots := range o.Slots {
		all += share(slots)
	}
	return time.Duration(float64(o.Length) * share(n) / all)
}

// Names are the rows, in the order of a table.
func Names() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return append(names, Account)
}

// Figure is the row of that name; one without runs if there is none.
func (c Column) Figure(name string) Figure {
	if name == Account {
		return c.Account
	}
	if i := rowNamed(name); i >= 0 {
		return c.Rows[i]
	}
	return Figure{Name: name}
}
