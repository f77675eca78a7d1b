package main

import (
	"fmt"
	"net/netip"
	"os"
	"sync"

	"github.com/sockdist/sockdist/internal/ledger"
)

// A subject is what has chaos done to it.
type subject interface {
	// own is what all subjects have.
	own() *service
	// lanes are what is done to it.
	lanes() []lane
	// rest waits until nothing is under way.
	rest() error
	// alibi is what may have cost connections since a Moment.
	alibi(since ledger.Moment) (*alibi, error)
	// end ends it in order; what it can't end is found later.
	end() error
}

// A service is workers that keep records, with a load of their own.
type service struct {
	*suite
	name    string
	number  int
	records string // folder
	ends    []endpoint
	held    ledger.Held

	numbers uint64 // of the next load
	tally   tally
}

// An endpoint is an address of a service, and where clients come from. Each
// endpoint of a service that is reached from the same address needs another
// from: records name a connection by its client's address.
type endpoint struct {
	to   netip.AddrPort
	from netip.Addr
}

var loopback6 = netip.IPv6Loopback()

// loopback4 is 127.0.0.n.
func loopback4(n byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, n}) }

// both are a port over IPv4 and over IPv6.
func both(port int) []endpoint {
	return []endpoint{
		{netip.AddrPortFrom(loopback4(1), uint16(port)), loopback4(1)},
		{netip.AddrPortFrom(loopback6, uint16(port)), loopback6},
	}
}

// ports are those of the endpoints, each once.
func (s *service) ports() (ports []uint16) {
	seen := make(map[uint16]bool)
	for _, e := range s.ends {
		if !seen[e.to.Port()] {
			seen[e.to.Port()] = true
			ports = append(ports, e.to.Port())
		}
	}
	return ports
}

// newService makes the folder of the records.
func (s *suite) newService(number int) (*service, error) {
	own := &service{suite: s, name: fmt.Sprintf("chaos-%d-%d", os.Getpid(), number), number: number, numbers: 1}
	own.records = s.path(own.name + "-records")
	return own, os.Mkdir(own.records, 0o755)
}

// load begins loads on all endpoints, which share the rate.
func (s *service) load(rate float64, held ledger.Held, round int) (runs []*ledger.Run, err error) {
	n := len(s.ends)
	held.Count = (held.Count + n - 1) / n
	for i, e := range s.ends {
		r, err := ledger.Start(ledger.Load{
			Server: e.to, From: []netip.Addr{e.from}, Rate: rate / float64(n), Held: held, Timeout: s.slow(patience),
			Seed: s.seed ^ laneNumber(s.number, round, 100+i), First: s.numbers,
		})
		if err != nil {
			finish(runs)
			return nil, err
		}
		s.numbers += 1 << 32
		runs = append(runs, r)
	}
	return runs, nil
}

// finish ends loads, all at once.
func finish(runs []*ledger.Run) []*ledger.Book {
	books := make([]*ledger.Book, len(runs))
	var ending sync.WaitGroup
	for i, r := range runs {
		ending.Go(func() { books[i] = r.Finish() })
	}
	ending.Wait()
	return books
}

// clearRecords empties the records, so that they don't grow with every round.
// Workers append, so they go on with an empty file.
func (s *service) clearRecords() error {
	files, err := os.ReadDir(s.records)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := os.Truncate(s.records+"/"+file.Name(), 0); err != nil {
			return err
		}
	}
	return nil
}
