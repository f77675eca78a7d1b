package demo

import "time"

// A Result is what a demo has shown so far. Times are in milliseconds.
type Result struct {
	Done    bool    `json:"-"`
	Seconds float64 `json:"seconds"`
	Planned float64 `json:"planned_seconds"`
	Rate    float64 `json:"connections_per_second"` // on each side
	Hash    Side    `json:"hash"`                   // the kernel's own choice
	Least   Side    `json:"least"`                  // sockdist
}

// A Side is one of the two.
type Side struct {
	Sent     int     `json:"sent"`
	Answered int     `json:"answered"`
	Failed   int     `json:"failed"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
	Shares   []Share `json:"workers"`
}

// A Share is what one worker has of one side.
type Share struct {
	Service     float64 `json:"service_ms"`  // its mean service time
	Served      int     `json:"served"`      // connections answered
	Connections uint64  `json:"connections"` // waiting or being served, now
	Most        uint64  `json:"most"`        // … at most, as far as was seen
}

func (s *stage) result(ledgers [sides]*ledger, since time.Duration) Result {
	return Result{Seconds: since.Seconds(), Planned: s.plan.Duration.Seconds(), Rate: s.plan.Rate(),
		Hash: s.side(kernelHash, ledgers[kernelHash]), Least: s.side(steered, ledgers[steered])}
}

func (s *stage) side(side int, l *ledger) Side {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Side{Sent: l.sent, Answered: l.answered, Failed: l.failed, P50: ms(l.percentile(50)), P99: ms(l.percentile(99)),
		Max: ms(time.Duration(l.latency.Max()) * time.Microsecond), Shares: s.shares(side, l)}
}

// shares joins what the client knows with the kernel's counts, which both sides have.
func (s *stage) shares(side int, l *ledger) []Share {
	shares := make([]Share, s.plan.Workers)
	for i := range shares {
		shares[i] = Share{Service: ms(s.plan.service(i)), Served: l.served[i]}
	}
	snapshot, err := s.group[side].Snapshot()
	if err != nil {
		return shares
	}
	for _, slot := range snapshot.Slots {
		most := &s.most[side][slot.Slot]
		*most = max(*most, slot.Connections)
		shares[slot.Slot].Connections, shares[slot.Slot].Most = slot.Connections, *most
	}
	return shares
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
