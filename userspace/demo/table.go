package demo

import (
	"fmt"
	"io"
	"strings"
)

// Columns of the table: a name, and for each side a bar with two numbers behind.
const (
	longName  = 22
	shortName = 9
	numbers   = 13
	gap       = 2
	longBar   = 18
	shortBar  = 6

	// MinWidth is the fewest columns that the table fits in.
	MinWidth = shortName + 2*(gap+numbers+shortBar) + 1
)

// A layout fits the table into a width.
type layout struct{ name, bar int }

// layoutFor gives up the longer names first, then the length of the bars. A
// width of 0 is any.
func layoutFor(width int) layout {
	if width <= 0 {
		return layout{longName, longBar}
	}
	bar := func(name int) int { return (width - 1 - name - 2*(gap+numbers)) / 2 }
	if n := bar(longName); n >= shortBar {
		return layout{longName, min(n, longBar)}
	}
	return layout{shortName, max(bar(shortName), shortBar)}
}

func (l layout) worker(number int, share Share) string {
	if l.name < longName {
		return fmt.Sprintf("worker %d", number)
	}
	return fmt.Sprintf("worker %d (%.0f ms each)", number, share.Service)
}

func (l layout) rate() string {
	if l.name < longName {
		return "a second"
	}
	return "connections/s"
}

func (l layout) line(w io.Writer, name, hash, least string) {
	fmt.Fprintf(w, "%-*s  %-*s  %s\n", l.name, name, l.bar+numbers, hash, least)
}

// Write shows a result as a table of two sides, in so many columns; 0 is as many as it likes.
func (r Result) Write(w io.Writer, width int) {
	l := layoutFor(width)
	fmt.Fprintf(w, "%.0f of %.0f s, %.0f %s on each side\n\n", r.Seconds, r.Planned, r.Rate, l.rate())
	l.line(w, "", "kernel's hash", "sockdist, least")
	longest := r.longest()
	for i, hash := range r.Hash.Shares {
		least := r.Least.Shares[i]
		l.line(w, l.worker(i, hash), hash.row(r.queue(hash), longest, l.bar), least.row(r.queue(least), longest, l.bar))
	}
	fmt.Fprintf(w, "%-*s  (connections %s, and served)\n\n", l.name, "", map[bool]string{false: "now", true: "at most"}[r.Done])
	for _, line := range []struct {
		name        string
		hash, least float64
	}{{"p50", r.Hash.P50, r.Least.P50}, {"p99", r.Hash.P99, r.Least.P99}, {"slowest", r.Hash.Max, r.Least.Max}} {
		l.line(w, line.name, fmt.Sprintf("%.1f ms", line.hash), fmt.Sprintf("%.1f ms", line.least))
	}
	l.line(w, "answered", r.Hash.count(), r.Least.count())
	if r.Hash.Failed+r.Least.Failed > 0 {
		l.line(w, "failed", fmt.Sprint(r.Hash.Failed), fmt.Sprint(r.Least.Failed))
	}
}

func (s Side) count() string { return fmt.Sprintf("%d of %d", s.Answered, s.Sent) }

// queue is what a bar shows: the connections now, and at the end the most there were.
func (r Result) queue(s Share) uint64 {
	if r.Done {
		return s.Most
	}
	return s.Connections
}

// longest is the full length of a bar.
func (r Result) longest() uint64 {
	longest := uint64(10)
	for _, side := range []Side{r.Hash, r.Least} {
		for _, share := range side.Shares {
			longest = max(longest, r.queue(share))
		}
	}
	return longest
}

func (s Share) row(queue, longest uint64, bar int) string {
	filled := int((queue*uint64(bar) + longest - 1) / longest)
	return fmt.Sprintf("%s%s %3d %6d ✓", strings.Repeat("█", filled), strings.Repeat("·", bar-filled), queue, s.Served)
}
