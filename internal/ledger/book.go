package ledger

import (
	"fmt"
	"slices"
	"time"
)

// Book is what became of every connection of a load. It isn't safe for use by
// several goroutines.
type Book struct {
	Load       Load
	Begin, End Moment
	// Entries are in the order of their start.
	Entries []*Entry
	// Unopened counts connections that the client couldn't open for reasons of
	// its own, and UnopenedErr is the first such reason. They have no entry.
	Unopened    int
	UnopenedErr error
	// Waits are how long each question of a held connection took that was
	// answered, from when it was due.
	Waits []time.Duration
}

// With returns the entries of a column.
func (b *Book) With(c Column) []*Entry {
	return b.where(func(e *Entry) bool { return e.Column == c })
}

// Losses returns the entries of all columns but Answered. Call Balance first:
// only then it is known who had accepted them.
func (b *Book) Losses() []*Entry {
	return b.where(func(e *Entry) bool { return e.Column != Answered })
}

func (b *Book) where(holds func(*Entry) bool) (some []*Entry) {
	for _, e := range b.Entries {
		if holds(e) {
			some = append(some, e)
		}
	}
	return some
}

// PIDs counts the answered connections by the process that answered last.
func (b *Book) PIDs() map[int]int {
	counts := make(map[int]int)
	for _, e := range b.With(Answered) {
		counts[e.Worker.PID]++
	}
	return counts
}

// lateAfter is how late a connection may be opened before the client counts
// as too slow for it. It is more than a busy machine's scheduler takes.
const lateAfter = 100 * time.Millisecond

// Late returns the connections that the client opened more than 100 ms too
// late: it couldn't keep the rate, and their latency isn't the server's.
func (b *Book) Late() []*Entry {
	return b.where(func(e *Entry) bool { return e.late() > lateAfter })
}

// Rate is how many connections, held ones aside, were opened in a second, over
// the time in which they were.
func (b *Book) Rate() float64 {
	var first, last *Entry
	n := 0
	for _, e := range b.Entries {
		if e.Held {
			continue
		}
		if first == nil {
			first = e
		}
		last = e
		n++
	}
	if n < 2 || last.Started == first.Started {
		return 0
	}
	return float64(n-1) / last.Started.Sub(first.Started).Seconds()
}

// Merge makes one book of those of several loads on the same servers. Numbers
// that come twice are for Balance to find. The Load is the first one's.
func Merge(books ...*Book) *Book {
	all := &Book{Load: books[0].Load, Begin: books[0].Begin, End: books[0].End}
	for _, b := range books {
		all.Begin, all.End = min(all.Begin, b.Begin), max(all.End, b.End)
		all.Entries = append(all.Entries, b.Entries...)
		all.Waits = append(all.Waits, b.Waits...)
		if all.UnopenedErr == nil {
			all.UnopenedErr = b.UnopenedErr
		}
		all.Unopened += b.Unopened
	}
	slices.SortStableFunc(all.Entries, func(a, b *Entry) int { return int(a.Started - b.Started) })
	return all
}

// check finds what is wrong with the client's own columns.
func (b *Book) check() (faults []string) {
	seen := make(map[uint64]bool, len(b.Entries))
	for _, e := range b.Entries {
		if seen[e.Number] {
			faults = append(faults, fmt.Sprintf("connection %d stands in the client's columns twice", e.Number))
		}
		seen[e.Number] = true
	}
	return faults
}
