package load

import (
	"context"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Kept are connections that stay, for one request after the other: as with
// HTTP's keep-alive. It is for one goroutine at a time.
type Kept struct {
	*client
	lanes   []keptLane
	Timeout time.Duration // of a request; 30 s to begin with
	Redials int           // connections that the server ended, and that were made anew
}

// A keptLane is one of the connections.
type keptLane struct {
	exchange
	since time.Time
	busy  bool
	used  bool // it has been answered on this connection
}

// Keep opens n connections, all at once, and has a request answered on each.
func Keep(ctx context.Context, server netip.AddrPort, n int) (k *Kept, err error) {
	k = &Kept{lanes: make([]keptLane, n), Timeout: defaultTimeout}
	for i := range k.lanes {
		k.lanes[i].fd = -1
	}
	if k.client, err = newClient(server); err != nil {
		return nil, err
	}
	k.keep = true
	if tally := k.Loop(ctx, 0); tally.Answered < n {
		k.Close()
		return nil, tally.Err
	}
	return k, nil
}

// Close closes the connections.
func (k *Kept) Close() {
	for i := range k.lanes {
		k.lanes[i].end()
	}
	k.close()
}

// ask makes a request on a lane that isn't busy. A connection that the server
// ended since the last answer is replaced.
func (k *Kept) ask(i int, service time.Duration) (err error) {
	l := &k.lanes[i]
	l.busy, l.since = true, time.Now()
	if l.fd >= 0 {
		if err = k.again(&l.exchange, service); err == nil {
			return nil
		}
		l.end()
	}
	if l.used {
		k.Redials++
	}
	l.used = false
	if err = k.dial(&l.exchange, int32(i), service); err != nil {
		l.end()
		l.busy = false
	}
	return err
}

// handle takes what came meanwhile, and tells of each request that is over.
func (k *Kept) handle(pause time.Duration, over func(i int, a answer, err error)) error {
	events, err := k.wait(pause)
	if err != nil {
		return err
	}
	for i := range events {
		k.came(int(events[i].Fd), events[i].Events, over)
	}
	return nil
}

func (k *Kept) came(i int, events uint32, over func(int, answer, error)) {
	l := &k.lanes[i]
	if l.fd < 0 {
		return
	}
	ends := events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	if !l.busy {
		if ends {
			l.end()
		}
		return
	}
	a, whole, err := k.progress(&l.exchange)
	switch {
	case err != nil:
		k.drop(i, err, over)
	case whole:
		l.busy, l.used = false, true
		if a.closes || ends { // its end may have come with the answer, and won't be told again
			l.end()
		}
		over(i, a, nil)
	}
}

// drop gives a request up, and its connection.
func (k *Kept) drop(i int, err error, over func(int, answer, error)) {
	k.lanes[i].end()
	k.lanes[i].busy = false
	over(i, answer{}, err)
}

// expire drops what takes too long.
func (k *Kept) expire(over func(int, answer, error)) {
	for i := range k.lanes {
		if l := &k.lanes[i]; l.busy && time.Since(l.since) > k.Timeout {
			k.drop(i, ErrTimeout, over)
		}
	}
}

// under tells how many requests are under way.
func (k *Kept) under() (n int) {
	for i := range k.lanes {
		if k.lanes[i].busy {
			n++
		}
	}
	return n
}
