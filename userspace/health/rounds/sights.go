package rounds

import (
	"sync"
	"time"
)

// Sights are what there was to see, by where one looked. Many who have their turn
// together see the same, and one of them has to look. The zero Sights are empty.
type Sights[Place comparable, Seen any] struct {
	mu sync.Mutex
	of map[Place]*sight[Seen]
}

type sight[Seen any] struct {
	mu    sync.Mutex
	began time.Time
	seen  Seen
}

// forgetAfter is how long a place is remembered that nobody looks at any more.
const forgetAfter = time.Minute

// Since returns what somebody has seen who began to look after the moment, or
// looks. What it returns is shared: nobody may change it.
func (s *Sights[Place, Seen]) Since(moment time.Time, place Place, look func() (Seen, error)) (Seen, error) {
	at := s.at(place)
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.began.After(moment) {
		return at.seen, nil
	}
	began := time.Now()
	seen, err := look()
	if err == nil {
		at.began, at.seen = began, seen
	}
	return seen, err
}

func (s *Sights[Place, Seen]) at(place Place) *sight[Seen] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.of[place]; at != nil {
		return at
	}
	for place, at := range s.of {
		if at.isOld() {
			delete(s.of, place)
		}
	}
	if s.of == nil {
		s.of = make(map[Place]*sight[Seen])
	}
	at := new(sight[Seen])
	s.of[place] = at
	return at
}

// isOld is no while somebody looks.
func (s *sight[Seen]) isOld() bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	return time.Since(s.began) > forgetAfter
}
