package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
)

const (
	// patience is how long a client waits for its answer. Workers are stopped
	// for 3 s at most, and may be next in turn when they go on.
	patience = 20 * time.Second
	// restWithin bounds how long an app takes to come to rest. Workers that
	// ignore SIGTERM take 10 s, those that died often are started after 15 s,
	// and old ones may have connections for a grace of 30 s.
	restWithin = 2 * time.Minute
	// quietWithin bounds the wait for the end of connections, or for counts. These
	// must stand still while status is read twice, which takes a busy machine long.
	quietWithin = 90 * time.Second
)

// errOver ends a subject's rounds.
var errOver = errors.New("interrupted")

// rounds breaks a subject until the time is over.
func (s *suite) rounds(x subject) {
	for n := 0; s.ctx.Err() == nil && (n == 0 || time.Until(s.ends) >= s.slow(s.round)); n++ {
		if err := s.oneRound(x, n); err != nil {
			if !errors.Is(err, errOver) {
				s.fail(ledger.Now(), x.own().name, err.Error())
			}
			return
		}
	}
}

// oneRound breaks a subject under load, and settles the books. An error is one
// after which nothing more can be learnt of it.
func (s *suite) oneRound(x subject, number int) error {
	own := x.own()
	begin := ledger.Now()
	held, err := own.load(0, own.held, number)
	if err != nil {
		return err
	}
	short, err := own.load(s.rate/float64(s.slowness), ledger.Held{}, number)
	if err != nil {
		finish(held)
		return err
	}
	s.watch(own, append(short, held...))
	s.breakAll(x, number)
	books := finish(short)
	restErr := s.restAndCount(x)
	books = append(books, finish(held)...)
	if err := errors.Join(restErr, s.awaitNone(x)); err != nil {
		s.fail(ledger.Now(), own.name, err.Error())
		restErr = err
	}
	if err := s.settle(x, begin, ledger.Merge(books...)); err != nil {
		return err
	}
	if restErr != nil {
		return errOver // what it was is told
	}
	return own.clearRecords()
}

// breakAll does what the lanes of the round have.
func (s *suite) breakAll(x subject, number int) {
	begin := time.Now()
	var running sync.WaitGroup
	for i, l := range x.lanes() {
		events := l.events(s.seed, laneNumber(x.own().number, number, i), s.round)
		running.Go(func() {
			for _, e := range events {
				s.sleep(time.Until(begin.Add(s.slow(e.at))))
				if s.ctx.Err() != nil {
					return
				}
				s.do(x, e)
			}
		})
	}
	running.Wait()
	s.sleep(time.Until(begin.Add(s.slow(s.round))))
}

// do does what an event says.
func (s *suite) do(x subject, e event) {
	err := e.deed.do(x, e)
	var skipped *skipError
	switch {
	case errors.As(err, &skipped):
		s.write(x.own().name, "%s: not now, %s", e.deed.name, skipped.why)
	case err != nil && s.ctx.Err() == nil:
		s.fail(ledger.Now(), x.own().name, fmt.Sprintf("%s: %v", e.deed.name, err))
	}
}

// A skipError says why an event can't be done now.
type skipError struct{ why string }

func (e *skipError) Error() string { return e.why }

// restAndCount compares the counts of status with sock_diag, when only held
// connections are left.
func (s *suite) restAndCount(x subject) error {
	if err := x.rest(); err != nil {
		return err
	}
	return s.compareCounts(x.own())
}

// settle balances the books of a round.
func (s *suite) settle(x subject, begin ledger.Moment, book *ledger.Book) error {
	own := x.own()
	records, err := ledger.ReadRecords(own.records)
	if err != nil {
		return err
	}
	alibi, err := x.alibi(begin)
	if err != nil {
		return err
	}
	s.judge(own, begin, book, records, alibi)
	return nil
}
