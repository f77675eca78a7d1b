package daemon

import (
	"testing"
	"time"
)

// ear is a service manager that hears.
type ear struct {
	nobody
	status   []string
	extended []time.Duration
}

func (e *ear) Status(text string)      { e.status = append(e.status, text) }
func (e *ear) Extend(by time.Duration) { e.extended = append(e.extended, by) }

func TestReports(t *testing.T) {
	manager := new(ear)
	r := &reports{above: manager}
	one, two := r.add("app a"), r.add("group g")
	r.set(one, "workers: 2 serving")
	r.set(one, "workers: 2 serving")
	r.set(two, "open")
	r.remove(one)
	want := []string{"app a workers: 2 serving", "app a workers: 2 serving; group g open", "group g open"}
	if len(manager.status) != len(want) {
		t.Fatalf("heard %q, want %q", manager.status, want)
	}
	for i, text := range want {
		if manager.status[i] != text {
			t.Errorf("heard %q, want %q", manager.status[i], text)
		}
	}
	r.extend(time.Hour)
	r.extend(time.Minute)
	if len(manager.extended) != 1 {
		t.Errorf("a shorter time was asked for: %v", manager.extended)
	}
}

// A supervisor that says nothing any more is stuck; one that doesn't run isn't.
func TestStuck(t *testing.T) {
	r := &reports{above: new(ear)}
	m := &appManager{reports: r, report: r.add("app a")}
	r.add("group g")
	if who := r.stuck(0); who != "" {
		t.Errorf("%s is stuck before it began", who)
	}
	m.Alive()
	if who := r.stuck(time.Hour); who != "" {
		t.Errorf("%s is stuck though it has just said that it lives", who)
	}
	time.Sleep(time.Millisecond)
	if who := r.stuck(time.Microsecond); who != "app a" {
		t.Errorf("%q is stuck, want app a", who)
	}
	m.silent()
	if who := r.stuck(0); who != "" {
		t.Errorf("%s is stuck after its end", who)
	}
}
