package load

import (
	"context"
	"time"
)

// Loop has every connection make a request as soon as it has the answer to the
// one before, for a while; at least one each. Connections without a request
// that fails try again every 50 ms.
func (k *Kept) Loop(ctx context.Context, length time.Duration) (t Tally) {
	onThread(func() { t = k.loop(ctx, length) })
	return t
}

func (k *Kept) loop(ctx context.Context, length time.Duration) Tally {
	r := &keptLoop{Kept: k, Tally: Tally{PIDs: map[int]int{}, Latency: NewHistogram()}, begun: time.Now(), length: length}
	for i := range k.lanes {
		r.start(i)
	}
	for looked := r.begun; r.under() > 0 || r.running(); {
		if err := context.Cause(ctx); err != nil {
			r.giveUp(err)
			break
		}
		if err := k.handle(glance, r.over); err != nil {
			r.failed(err)
			break
		}
		if time.Since(looked) > glance {
			looked = time.Now()
			r.look()
		}
	}
	return r.Tally
}

// keptLoop is a closed loop that runs.
type keptLoop struct {
	*Kept
	Tally
	begun  time.Time
	length time.Duration
}

func (r *keptLoop) running() bool { return time.Since(r.begun) < r.length }

func (r *keptLoop) start(i int) {
	if err := r.ask(i, 0); err != nil {
		r.failed(err)
	}
}

func (r *keptLoop) over(i int, a answer, err error) {
	if err != nil {
		r.failed(err)
		return // until the next look
	}
	Record(r.Latency, time.Since(r.lanes[i].since))
	r.Answered++
	r.PIDs[a.pid]++
	r.Took = time.Since(r.begun)
	if r.running() {
		r.start(i)
	}
}

func (r *keptLoop) look() {
	r.expire(r.over)
	for i := range r.lanes {
		if !r.lanes[i].busy && r.running() {
			r.start(i)
		}
	}
}

// giveUp leaves no request under way, for the next run.
func (r *keptLoop) giveUp(err error) {
	for i := range r.lanes {
		if r.lanes[i].busy {
			r.drop(i, err, r.over)
		}
	}
}

func (r *keptLoop) failed(err error) {
	r.Failed++
	if r.Err == nil {
		r.Err = err
	}
}
