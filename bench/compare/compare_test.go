package compare

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sockdist/sockdist/bench/result"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	p99  = result.Metric{Name: "p99", Unit: "ms"}
	rate = result.Metric{Name: "rate", Unit: "/s", Higher: true}
)

// samples are rounds of both metrics, near a middle.
func samples(p99s, rates float64) (rounds []result.Sample) {
	for _, off := range []float64{0.99, 0.995, 1, 1.005, 1.01} {
		rounds = append(rounds, result.Sample{Values: map[string]float64{"p99": p99s * off, "rate": rates * off}})
	}
	return rounds
}

// run has a case with a baseline, one of sockdist's contenders, and a peer.
func run(p99s, rates float64) *result.Results {
	base := []result.Sample{}
	for range 5 {
		base = append(base, result.Sample{Values: map[string]float64{"p99": 10, "rate": 1000}})
	}
	return &result.Results{
		Schema: result.Schema, Repeat: 5, Machine: result.Machine{Kernel: "6.18", CPU: "one", CPUs: 2},
		Contenders: []result.Contender{{Name: "go-reuseport"}, {Name: "sockdist-go"}, {Name: "haproxy-tcp-go"}},
		Cases: []result.CaseResult{{Workload: "rate", Name: "rate/go", Baseline: "go-reuseport", Metrics: []result.Metric{p99, rate}, Rows: []result.Row{
			{Contender: "go-reuseport", Rounds: base},
			{Contender: "sockdist-go", Rounds: samples(p99s, rates)},
			{Contender: "haproxy-tcp-go", Rounds: samples(3*p99s, rates/2)},
		}}},
	}
}

// ran is what the command says of two runs.
func ran(t *testing.T, old, new *result.Results, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	folder := t.TempDir()
	for name, r := range map[string]*result.Results{"old.json": old, "new.json": new} {
		if err := r.Save(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	code = Main(append(args, filepath.Join(folder, "old.json"), filepath.Join(folder, "new.json")), &out, &errs)
	return code, out.String(), errs.String()
}

func TestVerdicts(t *testing.T) {
	for name, test := range map[string]struct {
		old, new *result.Results
		args     []string
		code     int
		says     string
	}{
		"nothing changed":          {run(5, 900), run(5, 900), nil, 0, "0 regressed, 0 failed, 0 missing, 0 improved, 0 fixed, 2 as before"},
		"slower":                   {run(5, 900), run(6, 900), nil, 1, "regressed by 20 %"},
		"lower rate":               {run(5, 900), run(5, 720), nil, 1, "regressed by 25 %"},
		"both better":              {run(5, 900), run(4, 1200), nil, 0, "improved by 20 %"},
		"below the threshold":      {run(5, 900), run(5.2, 900), nil, 0, "0 regressed"},
		"a smaller threshold":      {run(5, 900), run(5.2, 900), []string{"-threshold", "2%"}, 1, "regressed by 4 %"},
		"a larger threshold":       {run(5, 900), run(6, 900), []string{"-threshold", "30"}, 0, "0 regressed"},
		"intervals touch":          {run(5, 900), run(5.08, 900), []string{"-threshold", "0"}, 0, "0 regressed"},
		"peers, too":               {run(5, 900), run(6, 900), []string{"-all"}, 1, "haproxy-tcp-go"},
		"lost where none was":      {run(0, 900), run(1, 900), nil, 1, "regressed, from nothing"},
		"none lost where some was": {run(1, 900), run(0, 900), nil, 0, "improved by 100 %"},
	} {
		code, out, _ := ran(t, test.old, test.new, test.args...)
		if code != test.code || !strings.Contains(out, test.says) {
			t.Errorf("%s: code %d instead of %d, %q is not in:\n%s", name, code, test.code, test.says, out)
		}
		if strings.Contains(out, "haproxy") && test.args == nil {
			t.Errorf("%s: a peer without -all:\n%s", name, out)
		}
	}
}

func TestErrorsOfRuns(t *testing.T) {
	broken := run(5, 900)
	for i := range broken.Cases[0].Rows[1].Rounds {
		broken.Cases[0].Rows[1].Rounds[i] = result.Sample{Error: "it left:\nexit status 1"}
	}
	if code, out, _ := ran(t, run(5, 900), broken); code != 1 || !strings.Contains(out, "error: it left: exit status 1  failed") {
		t.Errorf("failed now: %d\n%s", code, out)
	}
	if code, out, _ := ran(t, broken, run(5, 900)); code != 0 || !strings.Contains(out, "2 fixed") {
		t.Errorf("failed then: %d\n%s", code, out)
	}
	gone := run(5, 900)
	gone.Cases[0].Rows = gone.Cases[0].Rows[:1]
	if code, out, _ := ran(t, run(5, 900), gone); code != 0 || !strings.Contains(out, "2 missing") {
		t.Errorf("not there now: %d\n%s", code, out)
	}
	single := run(50, 900)
	single.Repeat = 1
	for i := range single.Cases[0].Rows {
		single.Cases[0].Rows[i].Rounds = single.Cases[0].Rows[i].Rounds[:1]
	}
	code, out, errs := ran(t, run(5, 900), single)
	if code != 0 || !strings.Contains(out, "2 that a single round can't tell") || !strings.Contains(errs, "the new run has a single round") {
		t.Errorf("a single round: %d\n%s%s", code, out, errs)
	}
}

func TestWarnings(t *testing.T) {
	other := run(5, 900)
	other.Machine.Kernel, other.Machine.CPUs, other.Trust.Noisy = "6.1", 64, true
	other.Cases = append(other.Cases, result.CaseResult{Name: "stall"})
	_, _, errs := ran(t, other, run(5, 900))
	for _, want := range []string{`kernels differ: "6.1", then "6.18"`, `CPUs differ: "64 of one", then "2 of one"`, "the old run found its machine too noisy", "case stall is not in the new run"} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q is not in:\n%s", want, errs)
		}
	}
	if _, _, errs := ran(t, run(5, 900), run(5, 900)); errs != "" {
		t.Errorf("warnings about the same machine: %s", errs)
	}
	based := run(5, 900)
	based.Cases[0].Baseline = "haproxy-tcp-go"
	if _, _, errs := ran(t, run(5, 900), based); !strings.Contains(errs, "another baseline now: haproxy-tcp-go instead of go-reuseport") {
		t.Error(errs)
	}
}

func TestJSON(t *testing.T) {
	code, out, errs := ran(t, run(5, 900), run(6, 900), "-json")
	var r Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 1 || errs != "" {
		t.Fatalf("%d, %v: %s%s", code, err, out, errs)
	}
	if r.Regressed != 1 || len(r.Changes) != 2 || r.Changes[0].Verdict != Regressed || math.Abs(r.Changes[0].Factor-1.2) > 1e-9 || r.Threshold != 0.05 {
		t.Errorf("%+v", r)
	}
}

// Parts of sockdist are compared, and what they are compared to isn't.
func TestParts(t *testing.T) {
	parts := func(least float64) *result.Results {
		r := run(5, 900)
		r.Cases = []result.CaseResult{{Workload: "pick", Name: "pick/8", Baseline: "hash-select", Metrics: []result.Metric{p99},
			Rows: []result.Row{{Contender: "hash-select", Rounds: samples(1, 1)}, {Contender: "least", Rounds: samples(least, 1)}}}}
		return r
	}
	if code, out, _ := ran(t, parts(2), parts(3)); code != 1 || !strings.Contains(out, "regressed by 50 %") {
		t.Errorf("%d: %s", code, out)
	}
}

func TestUsage(t *testing.T) {
	folder := t.TempDir()
	good, garbage := filepath.Join(folder, "good.json"), filepath.Join(folder, "garbage.json")
	if err := run(5, 900).Save(good); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(garbage, []byte("<html>\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(folder, "empty.json")
	if err := new(result.Results).Save(empty); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 2, "two files of results are needed, 0 given"},
		{[]string{good}, 2, "two files of results are needed, 1 given"},
		{[]string{good, "/nowhere"}, 2, "/nowhere: no such file"},
		{[]string{garbage, good}, 2, "not a result of bench"},
		{[]string{good, empty}, 2, "nothing in common"},
		{[]string{"-threshold", "much", good, good}, 2, "must be a percentage"},
		{[]string{"-threshold", "-1", good, good}, 2, "must be a percentage"},
		{[]string{"-unknown"}, 2, "unknown"},
		{[]string{"-h"}, 0, "bench compare -all -json old.json new.json"},
	} {
		var out, errs bytes.Buffer
		if code := Main(test.args, &out, &errs); code != test.code || !strings.Contains(errs.String(), test.says) || out.Len() > 0 {
			t.Errorf("%q: %d, %s%s", test.args, code, errs.String(), out.String())
		}
	}
}

// What is said about chance is what happens.
func TestChance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const draws = 10_000
	for _, n := range [][2]int{{3, 3}, {5, 5}, {3, 7}, {9, 5}, {15, 15}} {
		draw := func(rounds int) *result.Ratio {
			base, row := result.Row{}, result.Row{}
			for range rounds {
				base.Rounds = append(base.Rounds, result.Sample{Values: map[string]float64{"p99": 1}})
				row.Rounds = append(row.Rounds, result.Sample{Values: map[string]float64{"p99": r.ExpFloat64()}})
			}
			return p99.Paired(&row, &base)
		}
		regressed := 0
		for range draws {
			was, is := draw(n[0]), draw(n[1])
			if (Matcher{}).verdict(p99, *was, *is, factor(p99, *was, *is)) == Regressed {
				regressed++
			}
		}
		if got, want := float64(regressed)/draws, chance(n[0], n[1]); math.Abs(got-want) > 0.006 {
			t.Errorf("%d and %d rounds: %.4f regress, %.4f expected", n[0], n[1], got, want)
		}
	}
	if chance(1, 5) != 0 {
		t.Error("a single round has a chance")
	}
}
