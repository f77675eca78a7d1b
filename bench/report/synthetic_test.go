package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sockdist/sockdist/bench/result"
)

// families are contenders as they are in a real run, with how good they are at
// what: a factor on latency and on cost, below 1 is good.
var families = map[string][]string{
	"node": {"node-cluster 1.6 3.4", "node-cluster-shared 1.1 1.6", "pm2 1.7 3.6", "node-reuseport 3.2 1", "node-shared 1 1.05",
		"sockdist-node 1.1 1.03", "sockdist-node-p2c 1.3 1.03", "sockdist-node-rr 1.7 1.02", "sockdist-node-random 3 1.02", "sockdist-node-hash 3.1 1.02",
		"haproxy-tcp-node 1.15 1.9", "haproxy-http-node 1.2 2.2", "nginx-stream-node 1.2 1.8", "nginx-http-node 1.25 2.3", "nginx-http-keepalive-node 1.2 1.7"},
	"go": {"go-shared 1 1.04", "go-reuseport 3.2 1", "go-master-rr 1.7 1.9", "go-master-least 1.15 2", "sockdist-go 1.1 1.03", "sockdist-go-p2c 1.3 1.03",
		"sockdist-go-rr 1.7 1.02", "sockdist-go-random 3 1.02", "sockdist-go-hash 3.1 1.02", "sockdist-go-worker 1.1 1.04",
		"haproxy-tcp-go 1.15 2.9", "haproxy-http-go 1.2 3.2", "nginx-stream-go 1.2 2.8", "nginx-http-go 1.25 3.3"},
	"fasthttp": {"fasthttp-prefork 3.2 1", "fiber-prefork 3.3 1.2", "fasthttp-sockdist 1.1 1.04"},
	"nginx":    {"nginx-reuseport 3.2 1", "nginx-attached 1.1 1.03"},
	"python":   {"gunicorn 1 1.04", "sockdist-gunicorn 1.06 1.02", "uvicorn 1 1.06", "sockdist-uvicorn 1.06 1.04"},
}

var familyNames = []string{"node", "go", "fasthttp", "nginx", "python"}

// A maker makes results up.
type maker struct {
	*rand.Rand
	*result.Results
}

// synthetic is a run of all workloads that never was, always the same for a seed.
func synthetic(seed uint64, rounds int) *result.Results {
	m := maker{rand.New(rand.NewPCG(seed, 7)), &result.Results{
		Schema: result.Schema, Started: time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC), Seconds: 2400,
		Command: []string{"bench", "-repeat", fmt.Sprint(rounds), "-o", "my results.json"}, Seed: seed, Repeat: rounds,
		Machine: result.Machine{Kernel: "6.18.0", CPU: "Made-up CPU <at> 2 GHz", CPUs: 2, Memory: 8 << 30, Load: [3]float64{0.1, 0.2, 0.3},
			Sysctls:  map[string]string{"net.core.somaxconn": "4096", "net.ipv4.ip_local_port_range": "32768 60999"},
			Versions: map[string]string{"node": "v20.1.0", "haproxy": "HAProxy version 2.6.12"}},
		Trust: result.Trust{Tolerance: 0.05, Overshoot: map[string]string{"go": "62 µs", "node": "81 µs"}, Checks: []result.Check{
			{Name: "M/M/1, load 0.7, mean", Expected: 13.33, Measured: 13.6, Unit: "ms"}, {Name: "M/M/4, load 0.85, mean", Expected: 8.4, Measured: 8.21, Unit: "ms"}}},
	}}
	m.contenders()
	m.rate()
	m.queue()
	m.others()
	m.parts()
	for i := range m.Cases {
		m.Cases[i].Judge()
	}
	return m.Results
}

func (m *maker) contenders() {
	for _, family := range familyNames {
		for _, text := range families[family] {
			name := strings.Fields(text)[0]
			c := result.Contender{Name: name, Title: "the way of " + name, Family: family,
				Commands: [][]string{{"PORT=3000", "/usr/bin/" + name, "--workers", "8", "it's <b>bold</b>"}}}
			if strings.HasPrefix(name, "haproxy") {
				c.Configs = []result.Config{{Name: "haproxy.cfg", Text: "global\n  maxconn 20000\n# 1 < 2 & 3\n"}}
			}
			if name == "pm2" {
				c.Missing = "pm2 not found: make deps installs it"
			}
			m.Contenders = append(m.Contenders, c)
		}
	}
}

// quality reads a contender's factors.
func quality(text string) (name string, slow, cost float64) {
	if n, err := fmt.Sscan(text, &name, &slow, &cost); n != 3 {
		panic(err)
	}
	return name, slow, cost
}

// noise is a factor near 1.
func (m *maker) noise(by float64) float64 { return math.Exp(m.NormFloat64() * by) }

// table adds a case.
func (m *maker) table(workload, name, title, family, baseline string, metrics []result.Metric, sample func(name string, slow, cost float64) result.Sample) {
	c := result.CaseResult{Workload: workload, Name: name, Title: title, Baseline: baseline, Metrics: metrics}
	for _, text := range families[family] {
		contender, slow, cost := quality(text)
		if contender == "pm2" {
			continue
		}
		row := result.Row{Contender: contender}
		for range m.Repeat {
			row.Rounds = append(row.Rounds, sample(contender, slow, cost))
		}
		c.Rows = append(c.Rows, row)
	}
	m.Cases = append(m.Cases, c)
}

var (
	metricCost    = result.Metric{Name: "server µs", Title: "server CPU per connection", Unit: "µs"}
	metricRate    = result.Metric{Name: "rate", Title: "connections per second", Unit: "/s", Higher: true}
	metricP50     = result.Metric{Name: "p50", Title: "latency, p50", Unit: "ms"}
	metricP90     = result.Metric{Name: "p90", Title: "latency, p90", Unit: "ms"}
	metricP99     = result.Metric{Name: "p99", Title: "latency, p99", Unit: "ms"}
	metricP999    = result.Metric{Name: "p99.9", Title: "latency, p99.9", Unit: "ms"}
	metricLongest = result.Metric{Name: "max", Title: "longest latency", Unit: "ms"}
	metricSpread  = result.Metric{Name: "spread", Title: "busiest worker over the mean"}
	metricLost    = result.Metric{Name: "lost", Title: "connections lost", Unit: "%"}
	metricSlow    = result.Metric{Name: "slow", Title: "connections slower than 1 s", Unit: "%"}
)

// latencies are drawn from an exponential distribution, in ms.
func (m *maker) latencies(mean float64, n int) result.Sample {
	h := hdrhistogram.New(1, 60_000_000, 2)
	for range n {
		_ = h.RecordValue(int64(1000 * (0.5 + mean*m.ExpFloat64())))
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err)
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return result.Sample{Answered: n, Histogram: string(text), Values: map[string]float64{
		"p50": at(50), "p90": at(90), "p99": at(99), "p99.9": at(99.9), "max": at(100)}}
}

func (m *maker) rate() {
	for _, family := range familyNames {
		baseline, _, _ := strings.Cut(families[family][0], " ")
		if family == "node" || family == "go" {
			baseline = family + "-reuseport"
		}
		m.table("rate", "rate/"+family, "a connection for each request, app "+family, family, baseline,
			[]result.Metric{metricCost, metricRate, metricP99}, func(name string, _, cost float64) result.Sample {
				if name == "haproxy-http-node" {
					return result.Sample{Error: "haproxy-http-node: it doesn't answer at\n127.0.0.1:1234: \033[31mconnection refused"}
				}
				s := m.latencies(0.4*cost, 3000)
				s.Values["server µs"] = 60 * cost * m.noise(0.01)
				s.Values["rate"] = 15000 / cost * m.noise(0.02)
				if name == "node-cluster" {
					s.Failed = 31
				}
				return s
			})
	}
}

func (m *maker) queue() {
	for _, workers := range []int{4, 8, 16} {
		for _, distribution := range []string{"fixed", "exponential", "bimodal", "heavy-tailed"} {
			for _, load := range []float64{0.5, 0.7, 0.85, 0.95} {
				m.table("queue", fmt.Sprintf("queue/%d/%s/%g", workers, distribution, load),
					fmt.Sprintf("%d workers that serve one at a time, service %s, load %g", workers, distribution, load), "go", "go-shared",
					[]result.Metric{metricP99, metricP50, metricP90, metricP999, metricLongest}, func(name string, slow, _ float64) result.Sample {
						if name == "sockdist-go-worker" && workers == 16 && distribution == "fixed" {
							return result.Sample{Error: "the worker left: exit status 2"}
						}
						return m.latencies((1+(slow-1)*load)*m.noise(0.03)/(1-load), 300)
					})
				if workers == 8 && load == 0.85 {
					m.table("queue", fmt.Sprintf("queue/%d/%s/%g/node", workers, distribution, load), "the same with node", "node", "node-shared",
						[]result.Metric{metricP99, metricP50}, func(_ string, slow, _ float64) result.Sample { return m.latencies(slow/(1-load), 300) })
				}
			}
		}
	}
}

func (m *maker) others() {
	spread := func(name string, slow, cost float64) result.Sample {
		s := m.latencies(slow, 1000)
		s.Values["spread"], s.Values["rate"] = 1+(slow-1)/5*m.noise(0.05), 40000/math.Sqrt(cost)*m.noise(0.02)
		s.Values["lost"], s.Values["slow"] = 0, 0
		if slow > 2 {
			s.Values["lost"], s.Values["slow"] = slow*m.noise(0.2), 10*slow*m.noise(0.1)
		}
		for t := range 60 {
			s.Series = append(s.Series, result.Point{Second: float64(t) / 2, Values: map[string]float64{
				"max/mean": 1 + (slow-1)/5*(1+math.Exp(-float64(t)/10))*m.noise(0.05), "jain": 1 / (1 + (slow-1)/20*m.noise(0.1))}})
		}
		return s
	}
	flat := func(name string, slow, cost float64) result.Sample {
		s := spread(name, slow, cost)
		s.Series = nil
		return s
	}
	for _, w := range []struct {
		workload, name, title, family string
		metrics                       []result.Metric
		sample                        func(string, float64, float64) result.Sample
	}{
		{"keepalive", "keepalive/few/equal", "16 kept connections, equal rates", "node", []result.Metric{metricRate, metricP99}, flat},
		{"keepalive", "keepalive/many/unequal", "1000 kept connections, very unequal rates", "go", []result.Metric{metricP99, metricRate}, flat},
		{"longlived", "longlived/join", "10,000 connections come and go; a worker joins at 15 s", "node", []result.Metric{metricSpread}, spread},
		{"burst", "burst", "2,000 connections at once after a worker's death", "go", []result.Metric{metricSpread, metricP99, metricLongest}, flat},
		{"uneven", "uneven/half", "workers of different speed", "go", []result.Metric{metricP99, metricP50}, flat},
		{"stall", "stall", "a worker stopped for 2 s", "node", []result.Metric{metricSlow, metricLost, metricP99}, flat},
		{"crash", "crash", "a worker killed", "node", []result.Metric{metricLost, metricSlow, metricP99}, flat},
		{"reload", "reload", "all workers replaced", "node", []result.Metric{metricLost, metricSlow, metricP99}, flat},
		{"reload", "reload/python", "all workers replaced", "python", []result.Metric{metricLost, metricSlow, metricP99}, flat},
	} {
		baseline := w.family + "-reuseport"
		if w.family == "python" {
			baseline = "gunicorn"
		}
		m.table(w.workload, w.name, w.title, w.family, baseline, w.metrics, w.sample)
	}
}

// parts are cases whose rows are no contenders.
func (m *maker) parts() {
	for _, slots := range []int{2, 64, 256} {
		c := result.CaseResult{Workload: "pick", Name: fmt.Sprintf("pick/%d", slots), Title: fmt.Sprintf("a pick among %d slots", slots), Baseline: "hash-select",
			Metrics: []result.Metric{{Name: "pick", Title: "time of a pick", Unit: "ns"}}, Note: "cold caches"}
		for i, name := range []string{"hash-select", "least", "p2c", "rr", "random", "hash", "least, mixed weights"} {
			row := result.Row{Contender: name}
			for range m.Repeat {
				row.Rounds = append(row.Rounds, result.Sample{Values: map[string]float64{"pick": 100 * (1 + float64(i)/5) * m.noise(0.05)}})
			}
			c.Rows = append(c.Rows, row)
		}
		m.Cases = append(m.Cases, c)
	}
	c := result.CaseResult{Workload: "idle", Name: "idle/10", Title: "nothing happens", Baseline: "haproxy", Metrics: []result.Metric{{Name: "cpu", Title: "CPU, of one", Unit: "%"}}}
	for i, name := range []string{"haproxy", "node-cluster", "attach", "serve-apps", "run"} {
		row := result.Row{Contender: name}
		for range m.Repeat {
			row.Rounds = append(row.Rounds, result.Sample{Values: map[string]float64{"cpu": 0.01 * float64(i) * m.noise(0.05)}})
		}
		c.Rows = append(c.Rows, row)
	}
	m.Cases = append(m.Cases, c)
}
