package main_test

import (
	"fmt"
	"testing"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/servers"
)

// Weight, maximum and policy take effect with the next connection, and cost none.
func TestRunVerbs(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 4").start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 4)
	s := sharing{a, port, 4}
	load := startTraffic(t, clients.Client{}, local(port))
	s.goesOn(port)
	for _, args := range [][]string{
		{"policy", a.name, "rr"}, {"policy", a.name, "p2c"}, {"policy", a.name, "random"}, {"policy", a.name, "hash"},
		{"weight", a.name + "/0", "300"}, {"maxconn", a.name + "/1", "500"}, {"drain", a.name + "/2"}, {"undrain", a.name + "/2"},
		{"weight", a.name + "/0", "100"}, {"maxconn", a.name + "/1", "0"}, {"policy", a.name, "least"},
	} {
		a.verb(args...)
	}
	s.goesOn(port)
	load.expectAnswered()
	s.idle(port)

	t.Run("weight", func(t *testing.T) { s.on(t).weight() })
	t.Run("maxconn", func(t *testing.T) { s.on(t).maxconn() })
	t.Run("policy", func(t *testing.T) { s.on(t).policy() })
	t.Run("restart", func(t *testing.T) { s.on(t).keptOverRestart() })
}

// counts are the connections by slot, as the workers tell.
func counts(held clients.Held) (n [4]int) {
	for slot, count := range held.Slots() {
		n[slot] = count
	}
	return n
}

func (s sharing) expectCounts(held clients.Held, want [4]int) {
	s.t.Helper()
	if got := counts(held); got != want {
		s.t.Errorf("connections by slot: %v, want %v", got, want)
	}
}

func (s sharing) weight() {
	s.verb("weight", s.name+"/0", "300")
	s.verb("weight", s.name+"/3", "0")
	held := s.hold(100)
	s.expectCounts(held, [4]int{60, 20, 20, 0})
	s.verb("weight", s.name+"/0", "100")
	s.verb("weight", s.name+"/3", "100")
	more := s.hold(140)
	s.expectCounts(more, [4]int{0, 40, 40, 60})
	s.reset(held, more)
}

func (s sharing) maxconn() {
	for slot := range 4 {
		s.verb("maxconn", fmt.Sprintf("%s/%d", s.name, slot), fmt.Sprint(2*slot+2))
	}
	held := s.hold(20)
	s.expectCounts(held, [4]int{2, 4, 6, 8})
	before := s.group(s.port).Refused
	if l := clients.Load(s.t.Context(), local(s.port), clients.Limits{Count: 5, Abrupt: true}); len(l.With(clients.Refused)) != 5 {
		s.t.Errorf("with all workers full: %v, want them refused", l)
	}
	if n := s.group(s.port).Refused - before; n != 5 {
		s.t.Errorf("%d counted as refused, want 5", n)
	}
	s.verb("maxconn", s.name+"/0", "0")
	more := s.hold(10)
	s.expectCounts(more, [4]int{10, 0, 0, 0})
	for slot := range 4 {
		s.verb("maxconn", fmt.Sprintf("%s/%d", s.name, slot), "0")
	}
	s.reset(held, more)
}

func (s sharing) policy() {
	s.verb("policy", s.name, "rr")
	first := s.hold(40)
	s.expectCounts(first, [4]int{10, 10, 10, 10})
	s.verb("policy", s.name, "hash")
	sticky := s.hold(20)
	if n := len(sticky.Slots()); n != 1 {
		s.t.Errorf("hash: one client has connections on %d slots: %v", n, sticky.Slots())
	}
	s.verb("policy", s.name, "least")
	even := s.hold(60) // one has 30, three have 10
	s.expectEven(s.port, append(append(append(clients.Held{}, first...), sticky...), even...))
	s.reset(first, sticky, even)
}

// keptOverRestart: what an operator set for a slot holds for the next worker in it.
func (s sharing) keptOverRestart() {
	s.verb("drain", s.name+"/1")
	s.verb("weight", s.name+"/2", "50")
	for _, slot := range []int{1, 2} {
		before := s.slot(s.port, slot)
		killProcess(s.t, before.PID)
		until(s.t, "the worker is back", func() bool {
			now := s.slot(s.port, slot)
			return now.PID != before.PID && now.State == before.State
		})
	}
	held := s.hold(50)
	s.expectCounts(held, [4]int{20, 0, 10, 20})
	s.reset(held)
}
