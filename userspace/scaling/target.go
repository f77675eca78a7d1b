package scaling

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrTarget is wrapped by every error of ParseTarget.
var ErrTarget = errors.New("not a load to scale at")

// Target is how much one worker may carry: so many connections, or so many CPUs
// (0.8 is 80 % of one). 0 sets no target; with both, the tighter counts.
type Target struct {
	Connections float64
	CPU         float64
}

// The most that ParseTarget takes.
const (
	mostConnections = 1e9
	mostPercent     = 1e6
)

// ParseTarget reads "200", which is connections a worker, or "80%", which is of
// one CPU a worker; more than 100% is for workers with several threads. Errors
// wrap ErrTarget.
func ParseTarget(text string) (Target, error) {
	number, percent := strings.CutSuffix(text, "%")
	most := float64(mostConnections)
	if percent {
		most = mostPercent
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" {
		return Target{}, fmt.Errorf("%q is %w: write connections a worker, such as 200, or CPU a worker, such as 80%%", text, ErrTarget)
	}
	if value <= 0 || value > most {
		return Target{}, fmt.Errorf("%q is %w: take more than 0 and at most %.0f", text, ErrTarget, most)
	}
	if percent {
		return Target{CPU: value / 100}, nil
	}
	return Target{Connections: value}, nil
}

// String returns the text from which ParseTarget makes the same Target. With
// both targets it is for humans only.
func (t Target) String() string {
	switch {
	case t.CPU == 0:
		return decimal(t.Connections)
	case t.Connections == 0:
		return decimal(t.CPU*100) + "%"
	}
	return decimal(t.Connections) + " or " + decimal(t.CPU*100) + "%"
}

func decimal(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// need is how many workers a load takes at the target, and in which measure.
type need struct {
	workers float64
	measure measure
}

// measure is what a target is in.
type measure struct {
	target float64
	format string // of a number of it, in the end before "a worker"
	scale  float64
}

// of returns what the load takes, by the target that asks for more.
func (t Target) of(s Sample) need {
	connections := measure{t.Connections, "%.0f connections", 1}
	cpu := measure{t.CPU, "%.0f %% CPU", 100}

	var most need
	for _, one := range []struct {
		measure
		load float64
	}{{connections, s.Connections}, {cpu, s.CPU}} {
		if one.target <= 0 {
			continue
		}
		if n := one.load / one.target; most.measure.target == 0 || n > most.workers {
			most = need{workers: n, measure: one.measure}
		}
	}
	return most
}

// each says how much a worker carries when the need is shared by so many.
func (m measure) each(need, workers float64) string {
	return fmt.Sprintf(m.format, need*m.target*m.scale/workers)
}

// limit says the target, without the word for what it is in.
func (m measure) limit() string {
	return strings.TrimSuffix(strings.TrimSuffix(m.each(1, 1), " connections"), " CPU")
}
