package control

import "time"

const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 15 * time.Second
	// longLife is how long a worker lives to count as a good one.
	longLife = 30 * time.Second
)

// backoff says how long a worker waits before it starts again. The zero value
// is that of a worker which hasn't died yet.
type backoff struct {
	next time.Duration
}

// after returns the wait after a life of this length.
func (b *backoff) after(life time.Duration) time.Duration {
	if b.next == 0 || life >= longLife {
		b.next = backoffFirst
	}
	wait := b.next
	b.next = min(2*b.next, backoffMost)
	return wait
}
