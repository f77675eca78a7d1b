package control

import (
	"testing"
	"time"
)

func TestWaits(t *testing.T) {
	ms := time.Millisecond
	w := waits{3: {{0, 0}, {100 * ms, 10 * ms}, {200 * ms, 110 * ms}, {300 * ms, 200 * ms}}}
	if got := w.share(3, 100*ms); got != 0.95 {
		t.Errorf("since the second reading: %v", got)
	}
	if len(w[3]) != 3 {
		t.Errorf("%d readings are kept", len(w[3]))
	}
	if got := w.share(3, 150*ms); got != 0.95 {
		t.Errorf("since between two readings: %v", got)
	}
	if got := w.share(4, 0); got != 0 {
		t.Errorf("of a slot without readings: %v", got)
	}
	w.forget(3)
	if got := w.share(3, 0); got != 0 {
		t.Errorf("of a slot that was forgotten: %v", got)
	}
}
