package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
)

// A diary has what was done, and what went wrong.
type diary struct {
	console *console
	begin   ledger.Moment

	mu       sync.Mutex
	entries  []note
	failures []failure
}

// A note is something that was done.
type note struct {
	at   ledger.Moment
	app  string
	text string
}

// A failure is something that must not happen.
type failure struct {
	at    ledger.Moment
	app   string
	texts []string
}

// mostFailures bounds what is told; a run that is broken breaks all over.
const mostFailures = 50

func (d *diary) since(m ledger.Moment) float64 { return m.Sub(d.begin).Seconds() }

// write notes what is done now.
func (d *diary) write(app, format string, args ...any) {
	n := note{ledger.Now(), app, fmt.Sprintf(format, args...)}
	d.mu.Lock()
	d.entries = append(d.entries, n)
	d.mu.Unlock()
	d.console.line("%8.3f s  %s  %s", d.since(n.at), app, n.text)
}

// fail notes what must not happen.
func (d *diary) fail(at ledger.Moment, app string, texts ...string) {
	d.mu.Lock()
	if len(d.failures) < mostFailures {
		d.failures = append(d.failures, failure{at, app, texts})
	}
	d.mu.Unlock()
	d.console.line("%8.3f s  %s  FAILURE: %s", d.since(at), app, texts[0])
}

// hasFailed tells whether something must not have happened.
func (d *diary) hasFailed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.failures) > 0
}

// around are the notes of an app from some time before to some time after.
func (d *diary) around(app string, at ledger.Moment, before, after time.Duration) (lines []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.entries {
		if n.app == app && n.at >= at.Add(-before) && n.at <= at.Add(after) {
			lines = append(lines, fmt.Sprintf("%8.3f s  %s", d.since(n.at), n.text))
		}
	}
	return lines
}
