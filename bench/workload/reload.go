package workload

import (
	"context"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/result"
)

// reload replaces all workers, as a new version of a server takes it.
var reload = Workload{
	Name:  "reload",
	Title: "All workers replaced",
	Cases: func(size Size) []Case {
		length := 4 * time.Second
		if size == Quick {
			length = 3 * time.Second
		}
		t := trial{length: length, atOnce: reloadAtOnce, happens: func(ctx context.Context, m member) (map[string]float64, error) {
			return reloadAll(ctx, m, length/3)
		}}
		took := result.Metric{Name: "took", Title: "the reload took", Unit: "s"}
		return t.cases("reload", "All of 4 workers are replaced", size, contender.Reloads, took)
	},
}

// reloadAtOnce is less than trialAtOnce, as starting workers is work.
const reloadAtOnce = 4

// reloadAll begins somewhere within the first part of the load.
func reloadAll(ctx context.Context, m member, within time.Duration) (map[string]float64, error) {
	if err := pause(ctx, m.begin.Add(within/10+time.Duration(m.place*float64(within)))); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := m.fleet.Reload(ctx); err != nil {
		return nil, err
	}
	return map[string]float64{"took": time.Since(began).Seconds()}, whole(ctx, m.fleet, workersOf)
}
