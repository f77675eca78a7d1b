package sockets

import (
	"sync"
	"time"
)

// A survey is the last list of all listeners of a network namespace.
type survey struct {
	mu    sync.Mutex
	began time.Time
	found []Listener
}

// surveys are by the namespace's inode. One that nobody asked for in a while is
// forgotten.
var surveys = struct {
	mu sync.Mutex
	of map[uint64]*survey
}{of: make(map[uint64]*survey)}

const forgetSurvey = time.Minute

func surveyOf(netns uint64) *survey {
	surveys.mu.Lock()
	defer surveys.mu.Unlock()
	s := surveys.of[netns]
	if s == nil {
		for netns, old := range surveys.of {
			if old.isOld() {
				delete(surveys.of, netns)
			}
		}
		s = new(survey)
		surveys.of[netns] = s
	}
	return s
}

// isOld is no while somebody looks.
func (s *survey) isOld() bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	return time.Since(s.began) > forgetSurvey
}

// ListenersSince returns all listeners of the calling thread's network namespace,
// as Listeners does, as they were at a moment after the given one. All who ask
// for about the same moment, as many do who have their turn together, share the
// answer, which nobody may change.
func ListenersSince(moment time.Time) ([]Listener, error) {
	netns, _, err := NetNSOf(0)
	if err != nil {
		return nil, err
	}
	s := surveyOf(netns)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.After(moment) {
		return s.found, nil
	}
	began := time.Now()
	found, err := Listeners(Address{})
	if err != nil {
		return nil, err
	}
	s.began, s.found = began, found
	return found, nil
}
