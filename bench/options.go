package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/workload"
)

// options are the flags of a run.
type options struct {
	size       workload.Size
	repeat     int
	only       []string // prefixes of names of cases; none: all
	contenders []string // names; none: all
	seed       uint64
	out        string // for the results
	page       string // for the page
	args       []string
}

const usage = `Compares sockdist with what people use today, on this machine.

  bench [flags]                 run it: needs root, and the peers of make deps
  bench list                    workloads, cases and contenders
  bench sim [flags]             the choosing code alone, over machines we don't have
  bench agree FILE              whether that agrees with what was measured
  bench report FILE...          one HTML page of results
  bench compare OLD NEW         regressions between two results

Flags:
`

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{args: args}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are printed once, by the caller
	quick := flags.Bool("quick", false, "all workloads at a small size: at most five minutes")
	flags.IntVar(&o.repeat, "repeat", 0, "rounds of each case, 1 to 100 (default 5; 3 with -quick)")
	only := flags.String("only", "", "only cases whose names begin so, by commas: rate,queue/8 (see bench list)")
	contenders := flags.String("contenders", "", "only these and the baselines, by commas (see bench list)")
	flags.Uint64Var(&o.seed, "seed", 0, "of all arrivals and orders (default a new one, which is printed)")
	flags.StringVar(&o.out, "o", "", "file for the results (default results/TIME.json)")
	flags.StringVar(&o.page, "html", "", "file for the page (default beside the results)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stderr, usage)
			flags.SetOutput(stderr)
			flags.PrintDefaults()
		}
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("%q is neither a flag nor one of list, sim, agree, report, compare: see bench -h", flags.Arg(0))
	}
	o.size = workload.Full
	if *quick {
		o.size = workload.Quick
	}
	o.only, o.contenders = names(*only), names(*contenders)
	return o, o.complete()
}

// names are the parts of a list.
func names(list string) (all []string) {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// complete checks what was asked for, and fills in the rest.
func (o *options) complete() error {
	if o.repeat == 0 {
		o.repeat = 5
		if o.size == workload.Quick {
			o.repeat = 3
		}
	}
	if o.repeat < 1 || o.repeat > 100 {
		return fmt.Errorf("-repeat %d: must be from 1 to 100", o.repeat)
	}
	for _, name := range o.contenders {
		if contender.ByName(name) == nil {
			return fmt.Errorf("-contenders: there is no %q, see bench list", name)
		}
	}
	if o.seed == 0 {
		o.seed = rand.Uint64() >> 1 // so that it is a number for everybody who reads JSON, and positive
	}
	return nil
}

// makeRoom creates the folders of the files that will be written, so that a run
// doesn't fail at its end.
func (o *options) makeRoom() error {
	for _, path := range []string{o.out, o.page} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
	}
	return nil
}
