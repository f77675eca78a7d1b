package ledger

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Load is what is asked of a server. The zero value of each field has its
// default.
type Load struct {
	// Server is where connections go; [netip.AddrPort] of IPv4 or IPv6.
	Server netip.AddrPort
	// Rate is how many connections are opened in a second, on average, at
	// exponentially distributed intervals; 0: none but held ones.
	Rate float64
	// Count is how many are opened at most; 0: no limit.
	Count int
	// Duration is for how long they are opened; 0: until Finish. Those that are
	// open then still get their answer, or Timeout.
	Duration time.Duration
	// Timeout bounds each connection, from its start to its answer, and each
	// question of a held one; 0: 10 s.
	Timeout time.Duration
	// Seed decides the intervals.
	Seed uint64
	// First is the number of the first connection; 0: 1. Loads on the same
	// servers need numbers apart.
	First uint64
	// From are addresses to connect from, in turn; none: the kernel's choice.
	// Each gives some 28,000 ports. Connections leave no TIME_WAIT, so one is
	// enough unless very many wait at once.
	From []netip.Addr
	// Held are connections that stay open.
	Held Held
}

// Held are connections that are asked again and again.
type Held struct {
	// Count is how many there are at a time. They are opened in the first second.
	// One that ends too early is an entry of its own, and is replaced.
	Count int
	// Least and Most bound the pause between an answer and the next question;
	// both 0: 200 to 500 ms.
	Least, Most time.Duration
	// Life is how long one lives on average, between half and one and a half of
	// it, until the client closes it and opens another; 0: until the end.
	Life time.Duration
}

const (
	defaultTimeout = 10 * time.Second
	// openHeldWithin spreads the opening of held connections.
	openHeldWithin = time.Second
)

func (l Load) withDefaults() (Load, error) {
	if !l.Server.IsValid() || l.Server.Port() == 0 {
		return l, fmt.Errorf("ledger: %v is no address of a server", l.Server)
	}
	for _, from := range l.From {
		if from.Is4() != l.Server.Addr().Is4() {
			return l, fmt.Errorf("ledger: nobody at %v connects to %v: one is IPv4, the other isn't", from, l.Server)
		}
	}
	if l.Rate < 0 || l.Count < 0 || l.Duration < 0 || l.Timeout < 0 || l.Held.Count < 0 || l.Held.Least > l.Held.Most {
		return l, fmt.Errorf("ledger: a load of %+v makes no sense", l)
	}
	if l.Timeout == 0 {
		l.Timeout = defaultTimeout
	}
	if l.First == 0 {
		l.First = 1
	}
	if l.Held.Most == 0 {
		l.Held.Least, l.Held.Most = 200*time.Millisecond, 500*time.Millisecond
	}
	return l, nil
}

// arrivals are the Moments at which connections are due.
type arrivals struct {
	random *rand.Rand
	gap    float64 // mean, in ns
	next   Moment
	end    Moment // 0: none
	left   int    // < 0: any number
}

func newArrivals(l Load, begin Moment) *arrivals {
	a := &arrivals{random: rand.New(rand.NewPCG(l.Seed, 1)), next: begin, left: l.Count}
	if l.Count == 0 {
		a.left = -1
	}
	if l.Duration > 0 {
		a.end = begin.Add(l.Duration)
	}
	if l.Rate == 0 {
		a.left = 0
		return a
	}
	a.gap = 1e9 / l.Rate
	a.advance()
	return a
}

func (a *arrivals) advance() { a.next += Moment(a.gap * a.random.ExpFloat64()) }

// take returns the next one that is due.
func (a *arrivals) take(now Moment) (due Moment, ok bool) {
	if a.over() || a.next > now {
		return 0, false
	}
	due = a.next
	if a.left > 0 {
		a.left--
	}
	a.advance()
	return due, true
}

func (a *arrivals) over() bool { return a.left == 0 || a.end > 0 && a.next >= a.end }

func (a *arrivals) stop() { a.left = 0 }
