package sim

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

const heading = `Latencies in mean service times, from the end of the handshake to the answer.
Medians of %d rounds; × is the ratio to one queue for all workers, the median of
the rounds' ratios, behind p99 with its extremes.

`

func (c *Comparison) print(out io.Writer) error {
	fmt.Fprintf(out, "%s\n", c.Scenario)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\tp50\tp90\tp99\tp99.9\tmax\tmean\tbeside idle\tlongest queue"+c.moreColumns())
	for _, r := range c.Rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f %%\t%s", r.Contender, r.P50, r.P90, r.P99.withExtremes(),
			r.P999, r.Max, r.Mean, 100*r.Idle, longest(r))
		if c.Scenario.loses() {
			fmt.Fprintf(table, "\t%d\t%d\t%d", r.Migrated, r.Lost, r.Refused)
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}

// loses tells whether a connection can be moved or lost.
func (s *Scenario) loses() bool { return s.Crash || s.Drain }

func (c *Comparison) moreColumns() string {
	if c.Scenario.loses() {
		return "\tmigrated\tlost\trefused"
	}
	return ""
}

func longest(r *Row) string {
	if isShared(r.Contender) {
		return "-"
	}
	return fmt.Sprint(r.Longest)
}

func (f Figure) String() string { return fmt.Sprintf("%.2f ×%.2f", f.Median, f.Ratio) }

func (f Figure) withExtremes() string { return fmt.Sprintf("%s (%.2f–%.2f)", f, f.Low, f.High) }

// String names what is unusual.
func (s Scenario) String() string {
	parts := []string{fmt.Sprintf("%d workers", s.Workers), fmt.Sprintf("load %g", s.Load), "service " + s.Service, fmt.Sprintf("RTT %g", s.RTT)}
	add := func(some bool, format string, args ...any) {
		if some {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(s.Fin != s.RTT, "close %g", s.Fin)
	add(s.Spread, "each connection's own")
	add(s.Requests > 1, "%d requests a connection, pauses of %g", s.Requests, s.Think)
	add(s.Reports == Always, "reports always")
	add(s.Reports > 0, "reports every %g", s.Reports)
	add(s.Worth > 1, "a request counts for %d there", s.Worth)
	add(s.Slow > 1, "worker 0 takes ×%g", s.Slow)
	add(len(s.Speeds) > 0, "speeds %v %%", s.Speeds)
	add(s.Weighed, "weights as speeds")
	add(s.Every > 0, "every %g:", s.Every)
	add(s.Crash, "a crash")
	add(s.Drain, "a drain")
	add(s.Crash || s.Drain, "back after %g", s.Back)
	add(s.Burst > 0, "%d at once", s.Burst)
	return strings.Join(parts, ", ")
}

// printBrief has a line for each scenario: the contenders' p99, as ratios.
func printBrief(out io.Writer, all []*Comparison) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "p99 ÷ that of the shared queue")
	for _, r := range all[0].Rows {
		if isShared(r.Contender) {
			fmt.Fprint(table, "\t(shared)")
			continue
		}
		fmt.Fprint(table, "\t", r.Contender)
	}
	fmt.Fprintln(table)
	for _, c := range all {
		fmt.Fprint(table, c.Scenario)
		for _, r := range c.Rows {
			if isShared(r.Contender) {
				fmt.Fprintf(table, "\t(%.2f)", r.P99.Median)
				continue
			}
			fmt.Fprintf(table, "\t%.2f", r.P99.Ratio)
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}
