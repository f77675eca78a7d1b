package control

import (
	"fmt"
	"strings"
	"time"

	"github.com/sockdist/sockdist/userspace/health/rounds"
)

// Manager is a service manager that wants to know how the app is. Its methods
// don't block.
type Manager interface {
	// Ready: the app serves.
	Ready(status string)
	// Status is a line about how it is.
	Status(text string)
	// Reloading and Reloaded are the beginning and the end of a reload.
	Reloading()
	Reloaded(status string)
	// Stopping: the end has begun.
	Stopping(status string)
	// Extend asks for so much time from now on for what is under way.
	Extend(by time.Duration)
	// Watchdog is how often Alive has to be called; 0 for not at all.
	Watchdog() time.Duration
	Alive()
}

// unmanaged is for an app that nobody asks about.
type unmanaged struct{}

func (unmanaged) Ready(string)            {}
func (unmanaged) Status(string)           {}
func (unmanaged) Reloading()              {}
func (unmanaged) Reloaded(string)         {}
func (unmanaged) Stopping(string)         {}
func (unmanaged) Extend(time.Duration)    {}
func (unmanaged) Watchdog() time.Duration { return 0 }
func (unmanaged) Alive()                  {}

// summary is how the app is, in a line.
func (s *Supervisor) summary() string {
	counts := make(map[string]int)
	for _, w := range s.crew.all() {
		counts[w.state().Stage]++
	}
	var parts []string
	for _, stage := range []string{StageServing, StageStarting, StageDown, StageLeaving} {
		if n := counts[stage]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, stage))
		}
	}
	return "workers: " + strings.Join(parts, ", ")
}

// serving tells the manager, the first time, that the app serves.
func (s *Supervisor) serving() {
	s.announced.Do(func() { s.config.Manager.Ready("serving") })
}

// feedWatchdog shows the manager that this process isn't stuck: that it gets
// hold of what everything else needs.
func (s *Supervisor) feedWatchdog() {
	every := s.config.Manager.Watchdog()
	if every <= 0 {
		return
	}
	post := rounds.Every(every)
	defer post.Stop()
	for {
		select {
		case <-post.C:
		case <-s.ended:
			return
		}
		s.aims()
		s.crew.all()
		s.listeners.knows(0)
		s.config.Manager.Alive()
	}
}
