package rounds

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// One looks for all who want to know of the same moment, and nobody is told of an
// earlier one.
func TestSights(t *testing.T) {
	var s Sights[string, time.Time]
	var looks atomic.Int64
	look := func() (time.Time, error) { looks.Add(1); return time.Now(), nil }
	for n := range int64(3) {
		turn := time.Now()
		time.Sleep(time.Millisecond)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if seen, err := s.Since(turn, "here", look); err != nil || !seen.After(turn) {
					t.Errorf("turn %v, seen %v, %v", turn, seen, err)
				}
			})
		}
		all.Wait()
		if got := looks.Load(); got != n+1 {
			t.Errorf("%d looks after %d turns", got, n+1)
		}
	}
	if _, err := s.Since(time.Now(), "here", func() (time.Time, error) { return time.Time{}, errors.New("dark") }); err == nil {
		t.Error("a look that failed passes for one")
	}
}

// A place that nobody looks at any more is forgotten.
func TestSightsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Sights[int, bool]
		for place := range 3 {
			time.Sleep(2 * forgetAfter)
			if _, err := s.Since(time.Now(), place, func() (bool, error) { return true, nil }); err != nil || len(s.of) != 1 {
				t.Errorf("%d places are remembered, %v", len(s.of), err)
			}
		}
	})
}
