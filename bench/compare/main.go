package compare

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/sockdist/sockdist/bench/result"
)

const usage = `bench compare OLD NEW tells what got worse for sockdist from one run of the
comparison to another. It compares ratios to the baseline of each case: a
regression is one whose interval lies beyond the old one, by more than the
threshold. Exit code 1 if there is one, 0 if not, 2 for wrong usage.

  bench compare old.json new.json
  bench compare -threshold 10% old.json new.json
  bench compare -all -json old.json new.json

`

// A Report is what -json prints.
type Report struct {
	Old       string   `json:"old"`
	New       string   `json:"new"`
	Threshold float64  `json:"threshold"`
	Warnings  []string `json:"warnings"`
	Chance    float64  `json:"chance"` // about how many regress by chance at most, if nothing changed
	Regressed int      `json:"regressed"`
	Changes   []Change `json:"changes"`
}

// An asked is a command line.
type asked struct {
	Matcher
	json     bool
	old, new string
}

// Main is the command `bench compare`. It returns the exit code: 0 if nothing
// got worse, 1 if something did, 2 for wrong usage and files that can't be
// compared.
func Main(args []string, stdout, stderr io.Writer) int {
	a, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	r, err := a.compare()
	if err == nil {
		err = a.write(stdout, stderr, r)
	}
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "bench compare: %v\n", err)
		return 2
	case r.Regressed > 0:
		return 1
	default:
		return 0
	}
}

func parse(args []string, stderr io.Writer) (a asked, err error) {
	a.Threshold = 0.05
	flags := flag.NewFlagSet("bench compare", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.Var(&share{&a.Threshold}, "threshold", "how much worse is a regression, in `percent`")
	flags.BoolVar(&a.All, "all", false, "compare all contenders, not only those of sockdist")
	flags.BoolVar(&a.json, "json", false, "write JSON")
	if err := flags.Parse(args); err != nil {
		return a, err
	}
	if flags.NArg() != 2 {
		err = fmt.Errorf("two files of results are needed, %d given; -h helps", flags.NArg())
		fmt.Fprintf(stderr, "bench compare: %v\n", err)
		return a, err
	}
	a.old, a.new = flags.Arg(0), flags.Arg(1)
	return a, nil
}

// A share is a flag in percent, with or without the sign.
type share struct{ of *float64 }

// String implements flag.Value.
func (s *share) String() string {
	if s.of == nil {
		return ""
	}
	return fmt.Sprintf("%g%%", 100**s.of)
}

// Set implements flag.Value.
func (s *share) Set(text string) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return errors.New("must be a percentage, such as 5%")
	}
	*s.of = v / 100
	return nil
}

func (a *asked) compare() (*Report, error) {
	old, err := load(a.old)
	if err != nil {
		return nil, err
	}
	new, err := load(a.new)
	if err != nil {
		return nil, err
	}
	r := &Report{Old: a.old, New: a.new, Threshold: a.Threshold, Warnings: Warnings(old, new), Changes: a.Changes(old, new)}
	if len(r.Changes) == 0 {
		return nil, fmt.Errorf("%s and %s have nothing in common that could be compared", a.old, a.new)
	}
	for _, c := range r.Changes {
		if c.Verdict.bad() {
			r.Regressed++
		}
		if c.Verdict != Untold {
			r.Chance += chance(old.Repeat, new.Repeat)
		}
	}
	return r, nil
}

// load reads a file, and judges it by the rules of this program.
func load(path string) (*result.Results, error) {
	r, err := result.Load(path)
	if err != nil {
		return nil, err
	}
	for i := range r.Cases {
		r.Cases[i].Judge()
	}
	return r, nil
}

func (a *asked) write(stdout, stderr io.Writer, r *Report) error {
	if a.json {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(stderr, "bench compare: %s\n", warning)
	}
	return r.table(stdout)
}

// table writes what changed, and counts the rest.
func (r *Report) table(stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	counts := map[Verdict]int{}
	for _, c := range r.Changes {
		if counts[c.Verdict]++; c.Verdict == Same || c.Verdict == Untold {
			continue
		}
		if counts[Regressed]+counts[Failed]+counts[Missing]+counts[Improved]+counts[Fixed] == 1 {
			fmt.Fprintln(w, "case\tcontender\tmetric\told\tnew\t")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Case, c.Contender, c.Metric, ratio(c.Old), c.now(), c.saying())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Chance >= 0.5 {
		defer fmt.Fprintf(stdout, "if nothing had changed, up to %.0f would regress by chance\n", r.Chance)
	}
	_, err := fmt.Fprintf(stdout, "%d regressed, %d failed, %d missing, %d improved, %d fixed, %d as before, %d that a single round can't tell\n",
		counts[Regressed], counts[Failed], counts[Missing], counts[Improved], counts[Fixed], counts[Same], counts[Untold])
	return err
}

func (c *Change) now() string {
	if c.Error != "" {
		return "error: " + strings.Join(strings.Fields(c.Error), " ")
	}
	return ratio(c.New)
}

// saying is the verdict and how much.
func (c *Change) saying() string {
	switch {
	case c.Factor == 1:
		return string(c.Verdict)
	case c.Factor >= result.Endless:
		return string(c.Verdict) + ", from nothing"
	case c.Verdict == Improved:
		return fmt.Sprintf("improved by %.3g %%", 100*(1-c.Factor))
	default:
		return fmt.Sprintf("%s by %.3g %%", c.Verdict, 100*(c.Factor-1))
	}
}

// ratio writes one with its interval; – without one.
func ratio(r result.Ratio) string {
	switch {
	case r == result.Ratio{}:
		return "–"
	case r.Median >= result.Endless:
		return "∞"
	case r.Low == r.High:
		return fmt.Sprintf("%.3g×", r.Median)
	default:
		return fmt.Sprintf("%.3g× (%.3g–%.3g)", r.Median, r.Low, r.High)
	}
}
