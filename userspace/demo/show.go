package demo

import (
	"context"
	"errors"
	"time"

	"github.com/sockdist/sockdist/loader"
)

// refresh is how often a terminal is drawn anew.
const refresh = 200 * time.Millisecond

// A Screen shows a demo under way.
type Screen interface {
	// Draw shows a state; it is called a few times a second.
	Draw(Result)
}

// Run shows a plan and returns what came of it. When ctx ends early, it ends
// early. Nothing is left afterwards: no process, no port, no pin.
func Run(ctx context.Context, host *loader.Host, plan Plan, command Command, screen Screen) (r Result, err error) {
	if err := plan.Check(); err != nil {
		return r, err
	}
	s, err := setUp(host, plan, command)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.tearDown()) }()

	began := time.Now()
	var ledgers [sides]*ledger
	done := make(chan struct{}, sides)
	for side := range sides {
		ledgers[side] = newLedger()
		go func() {
			ledgers[side].drive(ctx, began, began.Add(plan.Duration), s.address[side], plan.Rate(), 1)
			done <- struct{}{}
		}()
	}
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	for running := sides; running > 0; {
		select {
		case <-done:
			running--
		case <-ticker.C:
			screen.Draw(s.result(ledgers, time.Since(began)))
		}
	}
	r = s.result(ledgers, time.Since(began))
	r.Done = true
	return r, nil
}
