package attachment

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

func TestPlan(t *testing.T) {
	slot := func(n, pid int, cookie uint64, state loader.State) loader.Slot {
		return loader.Slot{Slot: n, PID: pid, Start: 1, Cookie: cookie, State: state}
	}
	socket := func(pid int, cookie uint64) listener {
		return listener{Listener: sockets.Listener{Cookie: cookie}, server: sockets.Holder{PID: pid, Start: 1}}
	}
	for _, c := range []struct {
		name      string
		slots     []loader.Slot
		listeners []listener
		want      string
	}{
		{"nothing", nil, nil, ""},
		{"new", nil, []listener{socket(1, 10), socket(2, 20)}, "take -1:10 take -1:20"},
		{"same", []loader.Slot{slot(0, 1, 10, loader.Live), slot(1, 2, 20, loader.Draining)}, []listener{socket(2, 20), socket(1, 10)}, "keep 0:10 keep 1:20"},
		{"another process", []loader.Slot{slot(0, 1, 10, loader.Live)}, []listener{socket(3, 10)}, "keep 0:10 moved 0:10"},
		{"one gone", []loader.Slot{slot(0, 1, 10, loader.Gone), slot(1, 2, 20, loader.Live)}, []listener{socket(2, 20)}, "keep 1:20 gone 0"},
		{"not wanted", []loader.Slot{slot(0, 1, 10, loader.Live), slot(1, 2, 20, loader.Live)}, []listener{socket(2, 20)}, "out 0 keep 1:20"},
		{"replaced", []loader.Slot{slot(0, 1, 10, loader.Gone), slot(1, 2, 20, loader.Gone)}, []listener{socket(3, 30), socket(4, 40), socket(5, 50)},
			"take 0:30 take 1:40 take -1:50"},
		{"listens again", []loader.Slot{slot(0, 1, 10, loader.Gone), slot(1, 2, 20, loader.Gone)}, []listener{socket(3, 20), socket(4, 40)}, "take 1:20 take 0:40"},
		{"the process has another socket", []loader.Slot{slot(0, 1, 10, loader.Gone), slot(1, 2, 20, loader.Gone)}, []listener{socket(2, 30)}, "take 1:30 gone 0"},
		{"its old socket listens, its new one is another's", []loader.Slot{slot(0, 1, 10, loader.Gone)}, []listener{socket(1, 30), socket(2, 10)}, "take -1:30 take 0:10"},
	} {
		got := makePlan(c.slots, c.listeners).String()
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func (p plan) String() string {
	var text []string
	for _, s := range p.out {
		text = append(text, fmt.Sprintf("out %d", s.Slot))
	}
	for what, seats := range map[string][]seat{"keep": p.kept, "moved": p.moved, "take": p.taken} {
		for _, s := range seats {
			text = append(text, fmt.Sprintf("%s %d:%d", what, s.slot, s.listener.Cookie))
		}
	}
	for _, s := range p.gone {
		text = append(text, fmt.Sprintf("gone %d", s.Slot))
	}
	order := []string{"out", "keep", "moved", "take", "gone"}
	slices.SortStableFunc(text, func(a, b string) int {
		rank := func(s string) int {
			return slices.IndexFunc(order, func(o string) bool { return len(s) >= len(o) && s[:len(o)] == o })
		}
		return rank(a) - rank(b)
	})
	out := ""
	for i, s := range text {
		if i > 0 {
			out += " "
		}
		out += s
	}
	return out
}
