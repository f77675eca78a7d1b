package control

import "sync"

// level is how much of a hurry the end of an app is in.
type level int

const (
	calm     level = iota
	stopping       // in order, waiting for connections
	hurried        // without waiting for connections
	killing        // without waiting for anything
)

// urgency only ever rises.
type urgency struct {
	mu      sync.Mutex
	now     level
	reached [killing + 1]chan struct{}
}

func newUrgency() *urgency {
	u := &urgency{}
	for l := range u.reached {
		u.reached[l] = make(chan struct{})
	}
	close(u.reached[calm])
	return u
}

// at returns a channel that is closed once the level is reached.
func (u *urgency) at(l level) <-chan struct{} { return u.reached[l] }

func (u *urgency) is(l level) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.now >= l
}

// raise goes up to the level, and does nothing when it is there already.
func (u *urgency) raise(to level) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.now < to {
		u.now++
		close(u.reached[u.now])
	}
}

// raiseMore goes up by one level and returns it.
func (u *urgency) raiseMore() level {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now < killing {
		u.now++
		close(u.reached[u.now])
	}
	return u.now
}
