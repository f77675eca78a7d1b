package app

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Microsecond, "2.5": 2500 * time.Nanosecond, "1e6": time.Second,
	} {
		if d, err := Parse(text); err != nil || d != want {
			t.Errorf("%q: %v, %v; want %v", text, d, err, want)
		}
	}
	for _, text := range []string{"x", "-1", "NaN", "Inf", "1e12"} {
		if d, err := Parse(text); err == nil {
			t.Errorf("%q: %v", text, d)
		}
	}
}

// Work of two requests doesn't overlap, and slowness counts.
func TestWorkIsOneAtATime(t *testing.T) {
	w := NewWork()
	w.factor.Store(2)
	began := time.Now()
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- w.Do("5000") }()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took < 20*time.Millisecond {
		t.Errorf("two times 5 ms at half the speed took %v", took)
	}
}
