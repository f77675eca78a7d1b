package ledger

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// heldPlan says when held connections are opened and when they ask next.
type heldPlan struct {
	Held
	random *rand.Rand
	plan   plan
	end    Moment // 0: by Finish
	ended  bool
}

// A date is a Moment at which a held connection asks, or is opened.
type date struct {
	at     Moment
	conn   *conn // nil: to be opened
	serial int
}

func newHeldPlan(l Load, begin Moment) heldPlan {
	h := heldPlan{Held: l.Held, random: rand.New(rand.NewPCG(l.Seed, 2))}
	if l.Duration > 0 {
		h.end = begin.Add(l.Duration)
	}
	for i := range h.Count {
		heap.Push(&h.plan, date{at: begin.Add(openHeldWithin * time.Duration(i) / time.Duration(h.Count))})
	}
	return h
}

// goesOn is true as long as held connections are to stay. With neither a
// duration nor a count they stay until Finish.
func (h *heldPlan) goesOn(l *loop, now Moment) bool {
	switch {
	case h.Count == 0 || l.stopping.Load():
		return false
	case h.end > 0:
		return now < h.end
	}
	return l.load.Count == 0
}

func (h *heldPlan) pause() time.Duration {
	return h.Least + time.Duration(h.random.Float64()*float64(h.Most-h.Least))
}

// later plans the next question.
func (h *heldPlan) later(c *conn, now Moment) {
	heap.Push(&h.plan, date{now.Add(h.pause()), c, c.serial})
}

// replace plans another connection for one that has ended.
func (h *heldPlan) replace(now Moment) {
	if !h.ended {
		heap.Push(&h.plan, date{at: now.Add(h.pause())})
	}
}

// first is the first date, or another Moment if there is none.
func (h *heldPlan) first(otherwise Moment) Moment {
	if len(h.plan) == 0 {
		return otherwise
	}
	return h.plan[0].at
}

// speak does what is due on held connections.
func (l *loop) speak(now Moment) {
	h := &l.held
	for len(h.plan) > 0 && h.plan[0].at <= now && !h.ended {
		d := heap.Pop(&h.plan).(date)
		switch {
		case d.conn == nil:
			c := l.connect(d.at, true)
			if c != nil && h.Life > 0 {
				c.leaves = now.Add(time.Duration((0.5 + h.random.Float64()) * float64(h.Life)))
			}
		case d.conn.serial == d.serial:
			l.ask(d.conn, d.at)
		}
	}
}

// endHeld closes those that are idle; the others end with their answer.
func (l *loop) endHeld() {
	if l.held.ended {
		return
	}
	l.held.ended = true
	l.held.plan = nil
	for _, c := range l.open {
		if c.Held && c.Phase == Idle {
			l.end(c, Answered, nil)
		}
	}
}

// plan is a heap of dates.
type plan []date

func (p plan) Len() int           { return len(p) }
func (p plan) Less(i, j int) bool { return p[i].at < p[j].at }
func (p plan) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *plan) Push(x any)        { *p = append(*p, x.(date)) }

func (p *plan) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}
