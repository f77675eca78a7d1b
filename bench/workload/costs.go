package workload

import (
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/result"
)

// costs is what was used at some moment, since some other.
type costs struct{ server, client, softirq time.Duration }

// spent reads them.
func spent(e Env, f *contender.Fleet) (c costs, err error) {
	if c.server, err = f.CPU(); err != nil {
		return c, err
	}
	if c.client, err = e.ClientCPU(); err != nil {
		return c, err
	}
	c.softirq, err = e.Softirq()
	return c, err
}

func (c costs) minus(before costs) costs {
	return costs{c.server - before.server, c.client - before.client, c.softirq - before.softirq}
}

// Metrics of cost, for each connection or request.
var (
	serverCost  = result.Metric{Name: "server µs", Title: "server CPU", Unit: "µs"}
	totalCost   = result.Metric{Name: "total µs", Title: "CPU of servers and client", Unit: "µs"}
	softirqCost = result.Metric{Name: "softirq µs", Title: "softirqs of the machine", Unit: "µs"}
	memoryCost  = result.Metric{Name: "memory", Title: "memory", Unit: "MB"}
)

// each divides them by so many; values get the metrics.
func (c costs) each(n int, values map[string]float64) {
	if n == 0 {
		return
	}
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(n) }
	values[serverCost.Name] = us(c.server)
	values[totalCost.Name] = us(c.server + c.client)
	values[softirqCost.Name] = us(c.softirq)
}

// megabytes is the memory of a fleet.
func megabytes(f *contender.Fleet) (float64, error) {
	bytes, err := f.Memory()
	return float64(bytes) / 1e6, err
}
