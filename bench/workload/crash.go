package workload

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/contender"
)

// crash kills workers, and leaves it to the contender to replace them.
var crash = Workload{
	Name:  "crash",
	Title: "Workers that are killed",
	Cases: func(size Size) []Case {
		kills := 3
		if size == Quick {
			kills = 2
		}
		t := trial{length: time.Duration(kills+1) * betweenKills, atOnce: trialAtOnce, happens: func(ctx context.Context, m member) (map[string]float64, error) {
			return nil, killSome(ctx, m, kills)
		}}
		return t.cases("crash", "SIGKILL of one of 4 workers, once a second", size, contender.Respawns)
	},
}

const betweenKills = 1100 * time.Millisecond

// killSome kills one worker after the other, each once all are there again.
func killSome(ctx context.Context, m member, kills int) error {
	for i := range kills {
		at := m.begin.Add(time.Duration((float64(i) + 0.3 + 0.7*m.place) * float64(betweenKills)))
		if err := pause(ctx, at); err != nil {
			return err
		}
		pid, err := anyOf(m, i)
		if err == nil {
			err = unix.Kill(pid, unix.SIGKILL)
		}
		if err = errors.Join(err, whole(ctx, m.fleet, workersOf, pid)); err != nil {
			return err
		}
	}
	return nil
}
