package demo

import (
	"errors"
	"fmt"
	"time"
)

const (
	// MinDuration and MaxDuration bound a demo.
	MinDuration = time.Second
	MaxDuration = 10 * time.Minute
	// MaxWorkers is as many as fit on a screen.
	MaxWorkers = 32

	meanService = 4 * time.Millisecond // of all workers but the slow one
	slowFactor  = 2                    // the last worker takes that much longer
	utilization = 0.5                  // of what all workers together can do
)

// ErrPlan is wrapped by complaints about a Plan.
var ErrPlan = errors.New("not a demo")

// A Plan says what to show.
type Plan struct {
	Duration time.Duration // MinDuration … MaxDuration
	Workers  int           // 2 … MaxWorkers
}

// Check tells what is wrong with a plan.
func (p Plan) Check() error {
	if p.Duration < MinDuration || p.Duration > MaxDuration {
		return fmt.Errorf("%w: duration %v must be %v to %v", ErrPlan, p.Duration, MinDuration, MaxDuration)
	}
	if p.Workers < 2 || p.Workers > MaxWorkers {
		return fmt.Errorf("%w: %d workers, must be 2 to %d", ErrPlan, p.Workers, MaxWorkers)
	}
	return nil
}

// service is the mean service time of a worker.
func (p Plan) service(worker int) time.Duration {
	if worker == p.Workers-1 {
		return slowFactor * meanService
	}
	return meanService
}

// Rate is how many connections a second each side gets.
func (p Plan) Rate() float64 {
	capacity := 0.0
	for i := range p.Workers {
		capacity += 1 / p.service(i).Seconds()
	}
	return utilization * capacity
}
