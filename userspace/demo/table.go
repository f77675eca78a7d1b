package demo

import (
	"fmt"
	"io"
	"strings"
)

const barWidth = 18

// Write shows a result as a table of two sides.
func (r Result) Write(w io.Writer) {
	fmt.Fprintf(w, "%.0f of %.0f s, %.0f connections/s on each side, %d workers\n\n", r.Seconds, r.Planned, r.Rate, len(r.Hash.Shares))
	fmt.Fprintf(w, "%-22s  %-32s  %s\n", "", "kernel's hash", "sockdist, least")
	longest := r.longest()
	for i, hash := range r.Hash.Shares {
		least := r.Least.Shares[i]
		name := fmt.Sprintf("worker %d (%.0f ms each)", i, hash.Service)
		fmt.Fprintf(w, "%-22s  %s  %s\n", name, hash.row(r.queue(hash), longest), least.row(r.queue(least), longest))
	}
	fmt.Fprintf(w, "%-22s  (connections %s, and served)\n", "", map[bool]string{false: "now", true: "at most"}[r.Done])
	fmt.Fprintln(w)
	for _, line := range []struct {
		name        string
		hash, least float64
	}{{"p50", r.Hash.P50, r.Least.P50}, {"p99", r.Hash.P99, r.Least.P99}, {"slowest", r.Hash.Max, r.Least.Max}} {
		fmt.Fprintf(w, "%-22s  %-32s  %s\n", line.name, fmt.Sprintf("%.1f ms", line.hash), fmt.Sprintf("%.1f ms", line.least))
	}
	fmt.Fprintf(w, "%-22s  %-32s  %s\n", "answered", r.Hash.count(), r.Least.count())
}

func (s Side) count() string {
	text := fmt.Sprintf("%d of %d", s.Answered, s.Sent)
	if s.Failed > 0 {
		text += fmt.Sprintf(", %d failed", s.Failed)
	}
	return text
}

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

func (s Share) row(queue, longest uint64) string {
	filled := int((queue*barWidth + longest - 1) / longest)
	return fmt.Sprintf("%s%s %3d %6d ✓", strings.Repeat("█", filled), strings.Repeat("·", barWidth-filled), queue, s.Served)
}
