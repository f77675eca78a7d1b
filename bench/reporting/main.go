// Command reporting measures whether it helps that workers report their own
// load, and whether it helps that they let go of connections.
//
//	costs      kept connections whose requests differ by 100× in cost
//	streams    the same over HTTP/2, several requests at once on a connection
//	cpu        the same as costs, with real work instead of a simulated core
//	speed      one worker is half as fast as the others
//	each       a connection for each request, all of one cost: where a report can't help
//	rebalance  40 kept connections of very unequal rates, through a scale from 2 to 4 workers
//
// Workers are processes of this same program under sockdist run, which listen by
// the worker library. Their contenders differ in nothing but what they report.
// Load is open: each request has a moment at which it is due, and latency counts
// from there. In all parts but cpu a worker has a core of its own that is made
// of sleep and a lock, first come first served, so that the figures are those of
// a machine with enough cores.
//
// Contenders take turns, round by round, in an order that changes, with the same
// arrivals. It needs root, and Go to build sockdist.
//
//	go run ./bench/reporting [-quick] [-only costs,each] [-workers 4,8] [-rounds 5] [-o reporting.json]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/show"
)

func main() {
	if os.Getenv(workerVariable) != "" {
		if err := beWorker(); err != nil {
			fmt.Fprintln(os.Stderr, "reporting, worker:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reporting:", err)
		os.Exit(2)
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "reporting:", err)
		os.Exit(1)
	}
}

type options struct {
	only     []string
	workers  []int
	rounds   int
	length   time.Duration // of a load
	settle   time.Duration // of rebalance, on each side of the scale
	seed     uint64
	out      string
	sockdist string
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("reporting", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "one round of shorter loads: less than a minute")
	only := flags.String("only", strings.Join(partNames(), ","), "parts to measure, by commas")
	workers := flags.String("workers", "4", "numbers of workers, 2 to 64, by commas; rebalance always has 2 and 4")
	flags.IntVar(&o.rounds, "rounds", 0, "rounds, 1 or more (default 3, with -quick 1)")
	flags.DurationVar(&o.length, "length", 0, "of each load, after a second of warm-up (default 2.5s, with -quick 1s)")
	flags.DurationVar(&o.settle, "settle", 0, "of rebalance, before the scale and after it (default 15s, with -quick 6s)")
	flags.Uint64Var(&o.seed, "seed", 1, "decides the arrivals")
	flags.StringVar(&o.out, "o", "reporting.json", "file for the results as JSON; empty: none")
	flags.StringVar(&o.sockdist, "sockdist", "", "the sockdist to measure with (default: built from this module)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.fill(*quick)
	for field := range strings.SplitSeq(*workers, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 2 || n > 64 {
			return o, fmt.Errorf("-workers %q: must be numbers from 2 to 64", *workers)
		}
		o.workers = append(o.workers, n)
	}
	if o.only, err = show.ChooseParts(*only, partNames()); err != nil {
		return o, err
	}
	if o.rounds < 1 || o.length <= 0 || o.settle <= 0 || flags.NArg() > 0 {
		return o, errors.New("-rounds must be 1 or more, -length and -settle more than 0, and there are no arguments")
	}
	return o, nil
}

// fill gives what isn't set its default.
func (o *options) fill(quick bool) {
	rounds, length, settle := 3, 2500*time.Millisecond, 15*time.Second
	if quick {
		rounds, length, settle = 1, time.Second, 6*time.Second
	}
	if o.rounds == 0 {
		o.rounds = rounds
	}
	if o.length == 0 {
		o.length = length
	}
	if o.settle == 0 {
		o.settle = settle
	}
}

// A part asks one question.
type part struct {
	name    string
	measure func(*bench) ([]table, error)
}

var parts = []part{
	{"costs", measureCosts},
	{"streams", measureStreams},
	{"cpu", measureCPU},
	{"speed", measureSpeed},
	{"each", measureEach},
	{"rebalance", measureRebalance},
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// results is what the JSON file has.
type results struct {
	Machine show.Machine   `json:"machine"`
	Seed    uint64         `json:"seed"`
	Rounds  int            `json:"rounds"`
	Seconds float64        `json:"seconds_a_load"`
	Parts   map[string]any `json:"parts"`
}

func run(ctx context.Context, o options, out io.Writer) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	r := results{show.ThisMachine(), o.seed, o.rounds, o.length.Seconds(), make(map[string]any)}
	fmt.Fprintf(out, "%s\n\n", r.Machine)
	for _, p := range parts {
		if !slices.Contains(o.only, p.name) {
			continue
		}
		tables, err := p.measure(b)
		b.progress.Clear()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		r.Parts[p.name] = tables
		for _, t := range tables {
			if err := t.write(out, p.name); err != nil {
				return err
			}
		}
	}
	return show.Save(o.out, r)
}
