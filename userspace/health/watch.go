package health

import "time"

// watch is what the looks at one slot have shown.
type watch struct {
	ejected  bool
	opened   uint64
	accepted int64 // the most that was seen

	// below counts looks in a row with fewer accepted than seen before.
	below int

	progressed bool          // since the last look
	waiting    bool          // connections waited at the last look
	since      time.Duration // the first look of those with a backlog and no progress
	waited     time.Duration // since then, as far as it counts
}

// patience is how many looks in a row may show fewer accepted connections than
// were seen before. A few are those that came between reading Opened and
// Backlog; for longer, the number seen before was wrong: then a migration came
// in between.
const patience = 3

func newWatch(r Reading, now time.Duration) *watch {
	w := &watch{ejected: r.Ejected}
	w.startOver(r, now)
	return w
}

// startOver forgets what was seen before.
func (w *watch) startOver(r Reading, now time.Duration) {
	w.opened, w.accepted, w.below = r.Opened, r.accepted(), 0
	w.wait(r, now)
}

// wait begins to count the time in which connections wait.
func (w *watch) wait(r Reading, now time.Duration) {
	w.waiting, w.since, w.waited = r.Backlog > 0, now, 0
}

// look takes the next reading, a step of time after the last one.
func (w *watch) look(r Reading, now, step time.Duration) {
	accepted, fewerOpened := r.accepted(), r.Opened < w.opened
	changed := w.ejected != r.Ejected
	w.opened, w.ejected = r.Opened, r.Ejected
	w.progressed = accepted > w.accepted

	switch {
	case w.progressed:
		w.startOver(r, now)
	case fewerOpened && accepted < w.accepted, w.isWrong(accepted):
		// The slot has another worker, or the number was never right.
		w.startOver(r, now)
	case r.Backlog == 0 || !w.waiting || changed:
		w.wait(r, now)
	default:
		w.waited += step
	}
}

// isWrong tells whether the slot can't have accepted as many as seen before.
func (w *watch) isWrong(accepted int64) bool {
	if accepted >= w.accepted {
		w.below = 0
		return false
	}
	w.below++
	return w.below >= patience
}

// accepted can be less than 0, since connections can come between the reading
// of the one number and the other.
func (r Reading) accepted() int64 { return int64(r.Opened) - int64(r.Backlog) }
