package report

import (
	"flag"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/sockdist/sockdist/bench/result"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var keep = flag.String("keep", "", "folder for the synthetic results and their page")

// made is a synthetic run of five rounds. Tests don't change it.
var made = sync.OnceValue(func() *result.Results { return synthetic(1, 5) })

// small is a case with everything that a table can have.
func small() *result.CaseResult {
	sample := func(p99, rate float64) result.Sample {
		return result.Sample{Values: map[string]float64{"p99": p99, "rate": rate}, Answered: 100}
	}
	failing := result.Sample{Error: "it left:\n\033[31mexit status 1"}
	lossy := sample(5, 1500)
	lossy.Failed = 50
	c := &result.CaseResult{Workload: "rate", Name: "rate/go", Title: "a connection for each request", Baseline: "go-reuseport",
		Metrics: []result.Metric{{Name: "p99", Title: "latency, p99", Unit: "ms"}, {Name: "rate", Title: "connections/s", Unit: "/s", Higher: true}},
		Note:    "made up",
		Rows: []result.Row{
			{Contender: "go-reuseport", Rounds: []result.Sample{sample(10, 1000), sample(11, 1010), sample(12, 990), sample(10, 1000), sample(9, 1005)}},
			{Contender: "sockdist-go", Rounds: []result.Sample{sample(12, 1000), sample(13, 1010), sample(15, 990), sample(11.5, 1000), sample(10, 1005)}},
			{Contender: "go-master-rr", Rounds: []result.Sample{lossy, lossy, lossy, lossy, failing}},
			{Contender: "go-shared", Rounds: []result.Sample{failing, failing, failing, failing, failing}},
		}}
	c.Judge()
	return c
}

// around is a run of cases.
func around(repeat int, cases ...result.CaseResult) *result.Results {
	r := &result.Results{Schema: result.Schema, Repeat: repeat, Cases: cases}
	for _, name := range []string{"go-reuseport", "sockdist-go", "go-master-rr", "go-shared"} {
		r.Contenders = append(r.Contenders, result.Contender{Name: name, Family: "go"})
	}
	return r
}
