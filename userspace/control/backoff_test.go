package control

import (
	"slices"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	const short = time.Second
	var b backoff
	var waits []time.Duration
	for range 10 {
		waits = append(waits, b.after(short))
	}
	ms := time.Millisecond
	want := []time.Duration{
		100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 12800 * ms, 15000 * ms, 15000 * ms,
	}
	if !slices.Equal(waits, want) {
		t.Errorf("waits are %v, want %v", waits, want)
	}
	if wait := b.after(longLife); wait != backoffFirst {
		t.Errorf("wait after a long life is %v", wait)
	}
	if wait := b.after(short); wait != 2*backoffFirst {
		t.Errorf("wait after that is %v", wait)
	}
}
