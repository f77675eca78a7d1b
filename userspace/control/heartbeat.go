package control

import (
	"slices"
	"time"

	"github.com/sockdist/sockdist/userspace/health"
)

// slowestBeat is how long a heartbeat may stand still at least: the library
// shows one ten times a second.
const slowestBeat = 500 * time.Millisecond

// A hang is a worker that hangs: it leaves connections waiting, or its
// heartbeat stands still.
type hang struct {
	health.Finding
	still bool
}

// outlook is what one look at all workers has shown.
type outlook struct {
	hung      []hang
	recovered []int
	failOpen  bool
	suspected int
}

// beats are the readings of the workers' heartbeats: a counter that has to go on
// rising, as that of accepted connections does while some wait. Workers
// without a heartbeat are among them, for the share of those that hang.
func beats(readings []health.Reading, traffic map[int]Traffic) []health.Reading {
	shown := slices.Clone(readings)
	for i := range shown {
		r := &shown[i]
		r.Opened, r.Backlog = traffic[r.Slot].Beat, 0
		if r.Opened != 0 {
			r.Backlog = 1
		}
	}
	return shown
}

// judge looks at queues and heartbeats. That most workers hang is decided by both
// together.
func (g *guard) judge(now time.Duration, readings []health.Reading, traffic map[int]Traffic) outlook {
	queues, hearts := g.check.Look(now, readings), g.hearts.Look(now, beats(readings, traffic))
	var o outlook
	suspects := make(map[int]hang)
	for _, f := range slices.Concat(queues.Hung, queues.Suspects) {
		suspects[f.Slot] = hang{Finding: f}
	}
	for _, f := range slices.Concat(hearts.Hung, hearts.Suspects) {
		suspects[f.Slot] = hang{Finding: f, still: true}
	}
	ejected := 0
	for _, r := range readings {
		if h, is := suspects[r.Slot]; is {
			h.Backlog = r.Backlog
			o.hung = append(o.hung, h)
		}
		signs := queues.Recovered
		if e := g.ejected[r.Slot]; e != nil && e.still {
			signs = hearts.Recovered
		}
		switch {
		case slices.Contains(signs, r.Slot):
			o.recovered = append(o.recovered, r.Slot)
		case r.Ejected:
			ejected++
		}
	}
	o.suspected = len(o.hung)
	if o.suspected > 0 && 2*(o.suspected+ejected) > len(readings) {
		o.failOpen, o.hung = true, nil
	}
	return o
}

// stands tells whether a worker's heartbeat is the one of the last look.
func (g *guard) stands(slot int, beat uint64) bool {
	before := g.beat[slot]
	g.beat[slot] = beat
	return beat != 0 && beat == before
}
