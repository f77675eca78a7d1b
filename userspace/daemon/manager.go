package daemon

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sockdist/sockdist/userspace/control"
)

// nobody is the manager of a daemon that nobody asks about.
type nobody struct{}

func (nobody) Ready(string)            {}
func (nobody) Status(string)           {}
func (nobody) Reloading()              {}
func (nobody) Reloaded(string)         {}
func (nobody) Stopping(string)         {}
func (nobody) Extend(time.Duration)    {}
func (nobody) Watchdog() time.Duration { return 0 }
func (nobody) Alive()                  {}

// A report is what one unit tells of itself.
type report struct {
	name   string
	status string
	alive  time.Time // when it last said that it isn't stuck; zero: it has nothing to say
}

// reports are those of all units. From them the service manager hears one line,
// and that the daemon lives if none of those is stuck.
type reports struct {
	above control.Manager

	mu       sync.Mutex
	of       []*report
	extended time.Time // until when
	last     string
}

func (r *reports) add(name string) *report {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := &report{name: name}
	r.of = append(r.of, one)
	return one
}

func (r *reports) remove(one *report) {
	r.mu.Lock()
	for i, other := range r.of {
		if other == one {
			r.of = append(r.of[:i], r.of[i+1:]...)
			break
		}
	}
	r.mu.Unlock()
	r.tell()
}

// set changes a unit's line.
func (r *reports) set(one *report, status string) {
	r.mu.Lock()
	one.status = status
	r.mu.Unlock()
	r.tell()
}

// line is all units' in one.
func (r *reports) line() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var parts []string
	for _, one := range r.of {
		if one.status != "" {
			parts = append(parts, fmt.Sprintf("%s %s", one.name, one.status))
		}
	}
	return strings.Join(parts, "; ")
}

// tell passes the line on if it is another one.
func (r *reports) tell() {
	line := r.line()
	r.mu.Lock()
	changed := line != r.last
	r.last = line
	r.mu.Unlock()
	if changed {
		r.above.Status(line)
	}
}

// extend asks for time. A shorter one doesn't take back a longer one.
func (r *reports) extend(by time.Duration) {
	until := time.Now().Add(by)
	r.mu.Lock()
	longer := until.After(r.extended)
	if longer {
		r.extended = until
	}
	r.mu.Unlock()
	if longer {
		r.above.Extend(by)
	}
}

// stuck names a unit that has not said for so long that it lives.
func (r *reports) stuck(within time.Duration) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.of {
		if !one.alive.IsZero() && time.Since(one.alive) > within {
			return one.name
		}
	}
	return ""
}

// appManager is what the supervisor of an app tells.
type appManager struct {
	*reports
	report *report
	ready  func()
}

// Ready is called once for each supervisor.
func (m *appManager) Ready(string)            { m.ready() }
func (m *appManager) Status(text string)      { m.set(m.report, text) }
func (m *appManager) Reloading()              {}
func (m *appManager) Reloaded(status string)  { m.set(m.report, status) }
func (m *appManager) Stopping(status string)  { m.set(m.report, status) }
func (m *appManager) Extend(by time.Duration) { m.extend(by) }
func (m *appManager) Watchdog() time.Duration { return m.above.Watchdog() / 2 }
func (m *appManager) Alive()                  { m.alive(time.Now()) }

// silent is for the time in which no supervisor runs.
func (m *appManager) silent() { m.alive(time.Time{}) }

func (m *appManager) alive(at time.Time) {
	m.reports.mu.Lock()
	defer m.reports.mu.Unlock()
	m.report.alive = at
}
