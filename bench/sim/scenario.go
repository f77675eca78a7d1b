package sim

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// A Scenario is everything but who chooses. The zero value of what isn't named
// below as needed means that there is no such thing.
//
// Durations are multiples of the mean service time, unless they are time.Duration.
type Scenario struct {
	Workers     int     `json:"workers"`     // 1 … 256; needed
	Load        float64 `json:"load"`        // arriving work ÷ what all workers can do; more than 0, less than 1; needed
	Service     string  `json:"service"`     // one of Services; needed
	Connections int     `json:"connections"` // how many arrive; 0: 4000 a worker, and 200,000 at least

	Mean time.Duration `json:"mean_ns"` // service time, which says what an epoch of pending picks (1 s) is worth; 0: 1 ms
	RTT  float64       `json:"rtt"`     // from the pick to the end of the handshake
	Fin  float64       `json:"fin"`     // from the worker's close to the kernel's; AsRTT: as RTT

	// Spread: a connection's RTT and Fin are random, exponential with these means.
	Spread bool `json:"spread,omitempty"`

	Requests int     `json:"requests,omitempty"` // on each connection, one after the other, all of one cost; 0: 1
	Think    float64 `json:"think,omitempty"`    // mean pause between an answer and the connection's next request, exponential

	// Reports: workers publish how many requests wait or are served, each after
	// every such time; Always at each change. A request counts for Worth there, as if
	// a connection had so many at once; 0: 1.
	Reports float64 `json:"reports,omitempty"`
	Worth   int     `json:"worth,omitempty"`

	Slow    float64 `json:"slow,omitempty"`    // worker 0 takes so many times as long; 0: as all
	Speeds  []int   `json:"speeds,omitempty"`  // of the workers, in per cent, 1 … 1000, repeated; nil: all 100
	Weighed bool    `json:"weighed,omitempty"` // weights are as the speeds

	Every float64 `json:"every,omitempty"` // time between disturbances, which are any of:
	Crash bool    `json:"crash,omitempty"` // a worker dies; its accepted connection comes again, and what else it lost
	Drain bool    `json:"drain,omitempty"` // a worker gets no picks until it has no connection, and then is replaced
	Back  float64 `json:"back,omitempty"`  // time until the worker's successor is there
	Burst int     `json:"burst,omitempty"` // so many connections come at once
}

const (
	Always = -1 // a time between reports so short that every change is reported
	AsRTT  = -1 // the end of a connection takes as long as its handshake
)

const (
	leastConnections = 200_000
	connectionsEach  = 4000 // a worker
)

// complete fills in defaults and tells what is wrong.
func (s Scenario) complete() (Scenario, error) {
	if s.Mean == 0 {
		s.Mean = time.Millisecond
	}
	if s.Fin == AsRTT {
		s.Fin = s.RTT
	}
	if s.Requests == 0 {
		s.Requests = 1
	}
	if s.Slow == 0 {
		s.Slow = 1
	}
	if s.Connections == 0 {
		s.Connections = max(leastConnections, connectionsEach*s.Workers)
	}
	if s.Worth == 0 {
		s.Worth = 1
	}
	if err := checkService(s.Service); err != nil {
		return s, err
	}
	return s, s.check()
}

func (s *Scenario) check() error {
	for _, rule := range []struct {
		holds bool
		what  string
		value any
	}{
		{s.Workers >= 1 && s.Workers <= MaxWorkers, "workers %v: must be 1 to 256", s.Workers},
		{s.Load > 0 && s.Load < 1, "load %v: must be more than 0 and less than 1", s.Load},
		{s.Connections >= 100 && s.Connections <= 100_000_000, "connections %v: must be 100 to 100,000,000", s.Connections},
		{s.Mean >= 10*time.Microsecond && s.Mean <= time.Minute, "mean service time %v: must be 10µs to 1m", s.Mean},
		{usual(s.RTT), "rtt %v: must be 0 to 10,000 service times", s.RTT},
		{usual(s.Fin), "fin %v: must be 0 to 10,000 service times", s.Fin},
		{s.Requests >= 1 && s.Requests <= 1_000_000, "requests %v: must be 1 to 1,000,000 a connection", s.Requests},
		{usual(s.Think), "think %v: must be 0 to 10,000 service times", s.Think},
		{s.Reports == Always || usual(s.Reports), "reports %v: must be 0 to 10,000 service times", s.Reports},
		{s.Worth >= 1 && s.Worth <= 1000, "worth %v: must be 1 to 1000", s.Worth},
		{s.Slow >= 1 && s.Slow <= 1000, "slow %v: must be 1 to 1000", s.Slow},
		{usual(s.Every), "every %v: must be 0 to 10,000 service times", s.Every},
		{usual(s.Back), "back %v: must be 0 to 10,000 service times", s.Back},
		{s.Burst >= 0 && s.Burst <= 1_000_000, "burst %v: must be 0 to 1,000,000", s.Burst},
	} {
		if !rule.holds {
			return fmt.Errorf(rule.what, rule.value)
		}
	}
	for _, speed := range s.Speeds {
		if speed < 1 || speed > 1000 {
			return fmt.Errorf("speed %d: must be 1 to 1000 per cent", speed)
		}
	}
	return s.checkDisturbances()
}

func (s *Scenario) checkDisturbances() error {
	some := s.Crash || s.Drain || s.Burst > 0
	switch {
	case s.Crash && s.Drain:
		return errors.New("crash and drain: a worker can do one of them")
	case some && s.Every == 0:
		return errors.New("crash, drain and burst need every: the time between two of them")
	case !some && s.Every > 0:
		return errors.New("every needs crash, drain or burst: what happens")
	case (s.Crash || s.Drain) && s.Workers == 1:
		return errors.New("crash and drain need 2 workers or more")
	}
	return nil
}

func usual(x float64) bool { return x >= 0 && x <= 10_000 && !math.IsNaN(x) }

// speeds are how fast the workers are, 1 for one as all others.
func (s *Scenario) speeds() []float64 {
	all := make([]float64, s.Workers)
	for i := range all {
		all[i] = 1
		if len(s.Speeds) > 0 {
			all[i] = float64(s.Speeds[i%len(s.Speeds)]) / 100
		}
	}
	all[0] /= s.Slow
	return all
}

const defaultWeight = 100

// weights are the slots'. They know nothing of Slow: nobody had expected it.
func (s *Scenario) weights() []int {
	all := make([]int, s.Workers)
	for i := range all {
		all[i] = defaultWeight
		if s.Weighed && len(s.Speeds) > 0 {
			all[i] = s.Speeds[i%len(s.Speeds)]
		}
	}
	return all
}

// rate is how many connections arrive in a service time. A crash or a burst is on top of it.
func (s *Scenario) rate() float64 {
	capacity := 0.0
	for _, speed := range s.speeds() {
		capacity += speed
	}
	return s.Load * capacity / float64(s.Requests)
}

// nanos turns service times into nanoseconds.
func (s *Scenario) nanos(times float64) int64 { return int64(times * float64(s.Mean)) }
