package loader

import (
	"testing"
)

// Every ordinary way in which connections end leaves the counts right, at each
// step of the way.
func TestCountsFollowCloses(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, Least, where)
			for name, end := range closes {
				clients := w.connect(30)
				w.agree(name + ": in the queues")
				servers := w.acceptAll()
				w.agree(name + ": accepted")
				end(w, clients, servers)
				w.closeAll()
			}
		})
	}
}

// each does something to every connection of one side, and checks the counts.
func (w *world) each(what string, ends []*end, do func(*end) error) {
	w.t.Helper()
	for i, e := range ends {
		if err := do(e); err != nil {
			w.t.Fatalf("%s: %v", what, err)
		}
		if i == len(ends)/2 {
			w.agree("half of them " + what)
		}
	}
	w.agree(what)
}

func closeEnd(e *end) error { e.close(); return nil }
func resetEnd(e *end) error { e.reset(); return nil }

var closes = map[string]func(w *world, clients, servers []*end){
	"client first": func(w *world, clients, servers []*end) {
		w.each("closed by clients", clients, closeEnd)
		w.each("closed by servers", servers, closeEnd)
	},
	"server first": func(w *world, clients, servers []*end) {
		w.each("closed by servers", servers, closeEnd)
		w.each("closed by clients", clients, closeEnd)
	},
	"both at once": func(w *world, clients, servers []*end) {
		together(2, func(i int) {
			for _, e := range [][]*end{clients, servers}[i] {
				e.close()
			}
		})
		w.agree("closed by both")
	},
	"client half": func(w *world, clients, servers []*end) {
		w.each("half closed by clients", clients, (*end).finish)
		w.each("answered", servers, func(e *end) error { return e.send("bye") })
		w.each("closed by servers", servers, closeEnd)
		w.each("closed by clients", clients, closeEnd)
	},
	"server half": func(w *world, clients, servers []*end) {
		w.each("half closed by servers", servers, (*end).finish)
		w.each("closed by clients", clients, closeEnd)
		w.each("closed by servers", servers, closeEnd)
	},
	"both half": func(w *world, clients, servers []*end) {
		w.each("half closed by clients", clients, (*end).finish)
		w.each("half closed by servers", servers, (*end).finish)
	},
	"client resets": func(w *world, clients, servers []*end) {
		w.each("reset by clients", clients, resetEnd)
	},
	"server resets": func(w *world, clients, servers []*end) {
		w.each("reset by servers", servers, resetEnd)
	},
	"unread data": func(w *world, clients, servers []*end) {
		w.each("asked", clients, func(e *end) error { return e.send("hello") })
		w.each("closed by servers without reading", servers, closeEnd)
	},
	"reset after half": func(w *world, clients, servers []*end) {
		w.each("half closed by servers", servers, (*end).finish)
		w.each("reset by clients", clients, resetEnd)
	},
}

// Connections that no worker accepted count like others, and so do their ends.
func TestCountsOfNeverAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, Least)
	clients := w.connect(30)
	w.each("half closed in the queue", clients[:10], (*end).finish)
	w.each("closed in the queue", clients[10:20], closeEnd)
	for _, c := range clients[20:] {
		c.reset()
	}
	// Ten were reset: least gives each slot a third of every run of three.
	dead := map[int]int{}
	w.eventually("the resets are counted", func() error {
		for i := range w.workers {
			dead[i] = 10 - w.counted()[i]
		}
		_, err := w.truth(dead)
		return err
	})
	w.acceptAll()
	w.agree("accepted, dead or alive")
}
