package pick

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sockdist/sockdist/loader"
)

const (
	rounds   = 5  // of each place; each round gives one figure a row
	perTurn  = 32 // connections of one row before the next row has its turn
	perServe = 2  // turns of all rows before the server accepts
)

// A Column is all rows at one number of slots.
type Column struct {
	Slots   int      `json:"slots"`
	Rows    []Figure `json:"rows"`
	Account Figure   `json:"account"` // a run for each change of a TCP socket's state, at either end
}

// measure takes about as long as it is told to, and then some for making the groups.
func measure(ctx context.Context, host *loader.Host, of size, length time.Duration, places int) (Column, error) {
	var samples []sample
	for range places {
		some, err := measurePlace(ctx, host, of, length/time.Duration(places))
		if err != nil {
			return Column{}, err
		}
		samples = append(samples, some...)
	}
	return columnOf(of.slots, samples), nil
}

func measurePlace(ctx context.Context, host *loader.Host, of size, length time.Duration) (samples []sample, err error) {
	b, err := newBench(host, of)
	defer func() { err = errors.Join(err, b.close()) }()
	for err == nil && len(samples) < rounds {
		var s sample
		s, err = b.round(ctx, length/rounds)
		samples = append(samples, s)
	}
	return samples, err
}

// A bench is a row of each kind, at one number of slots.
type bench struct {
	server  *server
	rows    []*row
	account *loader.Program
	turns   int
}

func newBench(host *loader.Host, of size) (b *bench, err error) {
	b = &bench{rows: make([]*row, len(kinds))}
	if b.server, err = newServer(); err != nil {
		return b, err
	}
	for _, i := range rand.Perm(len(kinds)) {
		r, err := newRow(host, kinds[i], of, b.server)
		b.rows[i] = r
		if err != nil {
			return b, err
		}
		if err := errors.Join(r.connections.fill(), b.server.serve()); err != nil {
			return b, err
		}
	}
	b.account, err = host.Accounting()
	return b, err
}

// A sample is what one round measured: of each row, and of the accounting.
type sample struct {
	rows    []loader.Runs
	account loader.Runs
}

// round gives the rows their turns, in another order each time, for as long as
// it is told to, and one at least: nothing can be said of a row without runs.
func (b *bench) round(ctx context.Context, length time.Duration) (sample, error) {
	before, err := b.read()
	if err != nil {
		return sample{}, err
	}
	for end, begun := time.Now().Add(length), false; !begun || time.Now().Before(end); b.turns++ {
		begun = true
		for _, i := range rand.Perm(len(b.rows)) {
			if err := b.rows[i].turn(perTurn); err != nil {
				return sample{}, err
			}
		}
		if b.turns%perServe == 0 {
			if err := errors.Join(b.server.serve(), ctx.Err()); err != nil {
				return sample{}, err
			}
		}
	}
	after, err := b.read()
	if err != nil {
		return sample{}, err
	}
	for i := range after.rows {
		after.rows[i] = since(after.rows[i], before.rows[i])
	}
	after.account = since(after.account, before.account)
	return after, nil
}

func (b *bench) read() (s sample, err error) {
	s.rows = make([]loader.Runs, len(b.rows))
	for i, r := range b.rows {
		if s.rows[i], err = r.program.Runs(); err != nil {
			return s, err
		}
	}
	s.account, err = b.account.Runs()
	return s, err
}

func since(after, before loader.Runs) loader.Runs {
	return loader.Runs{Count: after.Count - before.Count, Time: after.Time - before.Time}
}

func (b *bench) close() (err error) {
	if b.account != nil {
		b.account.Close()
	}
	for _, r := range b.rows {
		if r != nil {
			err = errors.Join(err, r.close())
		}
	}
	if b.server != nil {
		b.server.close()
	}
	return err
}
