package main

import (
	"fmt"
	"os/exec"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
)

const (
	changeWorkers = 4
	heldCount     = 200
	// heldLife is short, so that a worker that leaves isn't kept for long by
	// the connections that it has.
	heldLife = time.Second
)

// measureReload reloads again and again, one worker at a time and all at once
// in turns.
func measureReload(b *bench) (*table, error) {
	if !b.can.reload {
		return nil, &lackError{"this build has no sockdist reload"}
	}
	return b.change("Reloads, rolling and all at once in turns,", func(a *app, i int) error {
		if i%2 == 1 {
			return a.verb("reload", a.name, "--all-at-once")
		}
		return a.verb("reload", a.name)
	})
}

// measureScale goes up and down between 2 and 6 workers.
func measureScale(b *bench) (*table, error) {
	if !b.can.scale {
		return nil, &lackError{"this build has no sockdist scale"}
	}
	sizes := []int{6, 2, 5, 3, 4}
	return b.change("Scale steps, to 6, 2, 5, 3 and 4 workers,", func(a *app, i int) error {
		return a.verb("scale", a.name, fmt.Sprint(sizes[i%len(sizes)]))
	})
}

// change does something to an app again and again, under load.
func (b *bench) change(what string, do func(a *app, i int) error) (*table, error) {
	r := &row{Contender: "sockdist least"}
	t := &table{
		Title: fmt.Sprintf("%s %d in a row at %.0f connections/s and %d long-lived connections, IPv4 and IPv6.", what, b.times(), b.rate, heldCount),
		heads: append(append([]string{}, lossHeads...), "held lost", "s each"), Rows: []*row{r},
	}
	a, err := startApp(b, b.server, changeWorkers)
	if err != nil {
		return nil, err
	}
	defer a.end()
	load, err := b.load(a, ledger.Held{Count: heldCount, Life: heldLife})
	if err != nil {
		return nil, err
	}
	defer load.finish()
	b.sleep(time.Second)
	var took time.Duration
	for i := range b.times() {
		if err := b.goOn(); err != nil {
			return nil, err
		}
		b.progress.Show("%s %d of %d", what, i+1, b.times())
		begin := time.Now()
		if err := do(a, i); err != nil {
			return nil, err
		}
		took += time.Since(begin)
	}
	if err := r.conclude(load, a, nil, b.times()); err != nil {
		return nil, err
	}
	t.cells = func(r *row) []string {
		return append(lossCells(r), fmt.Sprint(r.Rounds[0].Held.Lost), fmt.Sprintf("%.1f", took.Seconds()/float64(b.times())))
	}
	return t, nil
}

// measureSupervisor kills sockdist itself at random moments, every third time
// during a reload, and starts the same command again a moment later.
func measureSupervisor(b *bench) (*table, error) {
	if !b.can.reload {
		return nil, &lackError{"this build has no state to take workers over by"}
	}
	return b.change("kill -9 of sockdist, every third in a reload, and the same command again,", func(a *app, i int) error {
		if i%3 == 2 { // in the middle of a reload
			reload := exec.Command(b.sockdist, "--dir", b.pins, "reload", a.name)
			reload.Env = a.env
			if err := reload.Start(); err != nil {
				return err
			}
			defer reload.Wait() // it fails, with the one that it asked
			b.sleep(time.Duration(b.random.Int64N(int64(300 * time.Millisecond))))
		}
		a.kill()
		b.sleep(time.Duration(b.random.Int64N(int64(500 * time.Millisecond))))
		if err := a.launch(); err != nil {
			return err
		}
		b.sleep(500*time.Millisecond + time.Duration(b.random.Int64N(int64(500*time.Millisecond))))
		return awaitWorkers(a, changeWorkers, 0)
	})
}
