// Package result is what a run of the comparison found: the files that
// `bench` writes and that `bench report` and `bench compare` read. Its JSON is
// described in bench/results/README.md.
package result

import "time"

// Schema is the version of the files' layout. Readers refuse any other.
const Schema = 1

// Results is one run.
type Results struct {
	Schema     int          `json:"schema"`
	Started    time.Time    `json:"started"`
	Seconds    float64      `json:"seconds"` // that the run took
	Command    []string     `json:"command"`
	Seed       uint64       `json:"seed"`
	Repeat     int          `json:"repeat"`
	Machine    Machine      `json:"machine"`
	Trust      Trust        `json:"trust"`
	Contenders []Contender  `json:"contenders"`
	Cases      []CaseResult `json:"cases"`
}

// A Machine is whatever of the surroundings could matter.
type Machine struct {
	Kernel   string            `json:"kernel"`
	CPU      string            `json:"cpu"`
	CPUs     int               `json:"cpus"`
	Memory   uint64            `json:"memory"`   // bytes
	Governor string            `json:"governor"` // of CPU 0; "" where the kernel tells none
	Load     [3]float64        `json:"load"`     // averages over 1, 5, 15 minutes, before the run
	Clients  string            `json:"clients"`  // CPUs of the load generator, as in a cpuset; "" if shared
	Servers  string            `json:"servers"`  // CPUs of the contenders
	Sysctls  map[string]string `json:"sysctls"`
	Versions map[string]string `json:"versions"` // program: what it says of itself
}

// Trust is how the harness proved itself before it measured: service times
// after calibration, and how far a queue that theory knows is from theory.
type Trust struct {
	Noisy     bool              `json:"noisy"` // some check is off by more than Tolerance
	Tolerance float64           `json:"tolerance"`
	Checks    []Check           `json:"checks"`
	Overshoot map[string]string `json:"overshoot"` // app: how much longer a worker is kept than it was asked to, before calibration
}

// A Check is one figure that is known beforehand.
type Check struct {
	Name     string  `json:"name"` // such as "M/M/4, load 0.7, mean"
	Expected float64 `json:"expected"`
	Measured float64 `json:"measured"`
	Unit     string  `json:"unit"`
}

// A Contender is one way to put workers behind a port, as it was started here.
type Contender struct {
	Name     string     `json:"name"`
	Title    string     `json:"title"`
	Family   string     `json:"family"`   // contenders of a family run the same app
	Missing  string     `json:"missing"`  // why it was left out; "" if it ran
	Commands [][]string `json:"commands"` // exact, of one start
	Configs  []Config   `json:"configs"`  // that were written for it, as they were
}

// A Config is a file that a contender was given.
type Config struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// A CaseResult is one table: contenders that did the same, in rounds.
type CaseResult struct {
	Workload string   `json:"workload"` // such as "queue"
	Name     string   `json:"name"`     // unique, such as "queue/8/exponential/0.85"
	Title    string   `json:"title"`    // for people
	Baseline string   `json:"baseline"` // the contender that others are compared to
	Metrics  []Metric `json:"metrics"`  // the first is the one that decides
	Rows     []Row    `json:"rows"`     // by contender
	Note     string   `json:"note"`     // what the case can't tell, if anything
}

// A Metric is one column.
type Metric struct {
	Name   string `json:"name"`  // such as "p99"
	Title  string `json:"title"` // such as "latency, p99"
	Unit   string `json:"unit"`  // "ms", "µs", "/s", "%", "MB", "" for a plain number
	Higher bool   `json:"higher,omitempty"`
}

// A Row is one contender in one case.
type Row struct {
	Contender string            `json:"contender"`
	Rounds    []Sample          `json:"rounds"`
	Figures   map[string]Figure `json:"figures"` // by metric, of the rounds without an error; see Judge
}

// A Sample is what one round of one contender gave.
type Sample struct {
	Values    map[string]float64 `json:"values,omitempty"` // by metric
	Error     string             `json:"error,omitempty"`  // why the round doesn't count
	Failed    int                `json:"failed,omitempty"` // requests that weren't answered
	Answered  int                `json:"answered,omitempty"`
	Histogram string             `json:"histogram,omitempty"` // of latency in µs: HdrHistogram V2, compressed, base64
	Series    []Point            `json:"series,omitempty"`    // something through time, where the case has it
}

// A Point is one moment of a series.
type Point struct {
	Second float64            `json:"t"`
	Values map[string]float64 `json:"v"`
}

// A Figure sums a metric up over the rounds.
type Figure struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"` // interval of the median
	High   float64 `json:"high"`
	Ratio  *Ratio  `json:"ratio,omitempty"` // to the baseline, round by round; nil for the baseline itself
}

// A Verdict says what a ratio means for the contender.
type Verdict string

// Verdicts of a ratio's interval: it lies on the better side of 1, on the
// worse side, or 1 is in it and nothing can be said.
const (
	Better Verdict = "better"
	Worse  Verdict = "worse"
	Tie    Verdict = "tie"
)

// A Ratio is the median of a contender's values over the baseline's of the
// same rounds, and an interval for it.
type Ratio struct {
	Median   float64 `json:"median"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	Coverage float64 `json:"coverage"` // of the interval: how often such a one holds the true median
	Verdict  Verdict `json:"verdict"`
}
