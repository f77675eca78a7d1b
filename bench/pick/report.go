package pick

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/sockdist/sockdist/bench/show"
)

// A Report is what was measured.
type Report struct {
	Machine show.Machine `json:"machine"`
	PerSlot int          `json:"connections_per_slot"` // on average
	Columns []Column     `json:"columns"`
	Targets []Target     `json:"targets"`

	places int
}

// A Target is how much dearer than the bare hash-select `least` may be.
type Target struct {
	Slots int     `json:"slots"`
	Limit float64 `json:"limit"`
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low"` // quartiles of the ratio over the rounds
	High  float64 `json:"high"`
	Holds bool    `json:"holds"`
}

var limits = []Target{{Slots: 64, Limit: 1.5}, {Slots: 256, Limit: 2}}

func newReport(perSlot, places int) *Report {
	return &Report{PerSlot: perSlot, Machine: show.ThisMachine(), places: places}
}

// judge compares least with its targets, as far as they were measured.
func (r *Report) judge() {
	for _, t := range limits {
		for _, c := range r.Columns {
			if c.Slots == t.Slots {
				least := c.row(leastRow)
				t.Ratio, t.Low, t.High = least.Ratio, least.RatioLow, least.RatioHigh
				t.Holds = t.Ratio <= t.Limit
				r.Targets = append(r.Targets, t)
			}
		}
	}
}

const header = `Cost of a pick in ns, by the kernel's run statistics, without the clock's own cost.
Each pick is one of a whole TCP handshake over loopback, which clears the
processor's first caches before the next. %d connections a slot come and go at
random. Median of %d rounds (quartiles), with all sockets made anew %d times; × is
the ratio to the bare hash-select of the same round.
%v.

`

// Print writes it as a table, with what is to be thought of the targets.
func (r *Report) Print(out io.Writer) error {
	fmt.Fprintf(out, header, r.PerSlot, r.places*rounds, r.places, r.Machine)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "slots")
	for _, c := range r.Columns {
		fmt.Fprintf(table, "\t%d", c.Slots)
	}
	fmt.Fprintln(table)
	for _, k := range kinds {
		fmt.Fprint(table, label(k.name))
		for _, c := range r.Columns {
			fmt.Fprint(table, "\t", c.row(k.name))
		}
		fmt.Fprintln(table)
	}
	fmt.Fprint(table, "account, a state change")
	for _, c := range r.Columns {
		fmt.Fprint(table, "\t", c.Account)
	}
	fmt.Fprintln(table)
	if err := table.Flush(); err != nil {
		return err
	}
	return r.printTargets(out)
}

func label(name string) string {
	if name == clockRow {
		return "the clock (" + name + ")"
	}
	return name
}

func (f Figure) String() string {
	text := fmt.Sprintf("%.0f (%.0f–%.0f)", f.NS, f.Low, f.High)
	if f.Ratio != 0 {
		text += fmt.Sprintf(" %.2f×", f.Ratio)
	}
	return text
}

func (r *Report) printTargets(out io.Writer) error {
	for i, t := range r.Targets {
		if i == 0 {
			fmt.Fprintln(out)
		}
		verdict := "holds"
		if !t.Holds {
			verdict = "is missed"
		}
		_, err := fmt.Fprintf(out, "Target %s: least at %d slots costs %.2f times the bare hash-select (%.2f–%.2f), at most %.1f is wanted.\n",
			verdict, t.Slots, t.Ratio, t.Low, t.High, t.Limit)
		if err != nil {
			return err
		}
	}
	return nil
}
