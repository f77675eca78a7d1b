package rounds

import (
	"sync"
	"time"
)

// everybody's goes round all posts of the process.
var everybody = newWatchman()

// A watchman walks as long as there are posts.
type watchman struct {
	began time.Time
	hurry chan struct{} // has an element when a turn may be due earlier

	mu    sync.Mutex
	posts map[*Post]struct{}
	walks bool
	next  time.Duration // when it means to go round again
}

func newWatchman() *watchman {
	return &watchman{began: time.Now(), hurry: make(chan struct{}, 1), posts: make(map[*Post]struct{})}
}

func (w *watchman) post(period time.Duration, glance func() bool) *Post {
	if period <= 0 {
		panic("rounds: a period of " + period.String())
	}
	c := make(chan time.Time, 1)
	p := &Post{C: c, c: c, guard: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posts[p] = struct{}{}
	w.set(p, period, glance)
	return p
}

func (w *watchman) change(p *Post, period time.Duration, glance func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.posts[p]; there {
		w.set(p, period, glance)
	}
}

// set is called with the lock.
func (w *watchman) set(p *Post, period time.Duration, glance func() bool) {
	p.glance = glance
	if p.period == period {
		return
	}
	p.period = period
	p.due = p.after(time.Since(w.began))
	switch {
	case !w.walks:
		w.walks = true
		go w.walk()
	case p.due < w.next:
		w.wake()
	}
}

func (w *watchman) leave(p *Post) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.posts, p)
	if len(w.posts) == 0 {
		w.wake() // to go home
	}
}

func (w *watchman) wake() {
	select {
	case w.hurry <- struct{}{}:
	default:
	}
}

// after is the next turn after now.
func (p *Post) after(now time.Duration) time.Duration { return (now/p.period + 1) * p.period }

func (w *watchman) walk() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		pause, done := w.round()
		if done {
			return
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-w.hurry:
		}
	}
}

// round gives a turn to whom it is due, and returns when the next one is.
func (w *watchman) round() (pause time.Duration, done bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.posts) == 0 {
		w.walks = false
		return 0, true
	}
	at := time.Now()
	now := at.Sub(w.began)
	w.next = 1<<63 - 1
	for p := range w.posts {
		if p.due <= now {
			p.due = p.after(now)
			p.turn(at)
		}
		w.next = min(w.next, p.due)
	}
	return w.next - time.Since(w.began), false
}

func (p *Post) turn(at time.Time) {
	if p.glance != nil && !p.glance() {
		return
	}
	select {
	case p.c <- at:
	default:
	}
}
