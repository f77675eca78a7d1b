// Command reliability measures what faults cost the clients of sockdist, and of
// what else there is: it breaks things under load, and a ledger keeps the books
// of every single connection.
//
//	stall       one of 8 workers stopped for 2 s: who waits longer than 1 s
//	crash       SIGKILL of one of 4 workers, again and again
//	stuck       the same, of a worker that was stopped for a moment before
//	reload      reloads in a row, with long-lived connections
//	scale       scale steps in a row, likewise
//	supervisor  kill -9 of sockdist itself, and a new one takes over
//
// Contenders are measured in turns, round by round, so that all meet the same
// machine. What this build or machine can't do is named and left out. It needs
// root, and Go to build what it runs; with -quick it takes about two minutes.
//
//	go run ./bench/reliability [-quick] [-only stall,crash] [-repeat 3] [-o results.json]
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
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/show"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reliability:", err)
		os.Exit(2)
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "reliability:", err)
		os.Exit(1)
	}
}

type options struct {
	quick    bool
	only     []string
	repeat   int
	rate     float64
	seed     uint64
	limit    time.Duration
	out      string
	sockdist string
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("reliability", flag.ContinueOnError)
	flags.BoolVar(&o.quick, "quick", false, "fewer faults and rounds: about two minutes")
	only := flags.String("only", strings.Join(partNames(), ","), "parts to measure, by commas")
	flags.IntVar(&o.repeat, "repeat", 0, "rounds of the part stall, 1 or more (default 5, with -quick 1)")
	flags.Float64Var(&o.rate, "rate", 2000, "connections a second, more than 0")
	flags.Uint64Var(&o.seed, "seed", 1, "decides the arrivals and the moments of faults")
	flags.DurationVar(&o.limit, "limit", 30*time.Minute, "begin nothing new after this time")
	flags.StringVar(&o.out, "o", "reliability.json", "file for the results as JSON; empty: none")
	flags.StringVar(&o.sockdist, "sockdist", "", "the sockdist to measure (default: built from this module)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.only, err = show.ChooseParts(*only, partNames()); err != nil {
		return o, err
	}
	if o.repeat == 0 {
		o.repeat = 5
		if o.quick {
			o.repeat = 1
		}
	}
	if o.repeat < 0 || o.rate <= 0 || flags.NArg() > 0 {
		return o, errors.New("-repeat must be 1 or more and -rate more than 0, and there are no arguments")
	}
	return o, nil
}

// A part breaks one kind of thing.
type part struct {
	name    string
	measure func(*bench) (*table, error)
}

var parts = []part{
	{"stall", measureStall},
	{"crash", measureCrash},
	{"stuck", measureStuck},
	{"reload", measureReload},
	{"scale", measureScale},
	{"supervisor", measureSupervisor},
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// results is what the JSON file has.
type results struct {
	Machine show.Machine `json:"machine"`
	Seed    uint64       `json:"seed"`
	Rate    float64      `json:"rate"`
	LeftOut []string     `json:"left_out"`
	Parts   []*table     `json:"parts"`
}

func run(ctx context.Context, o options, out io.Writer) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	r := results{Machine: show.ThisMachine(), Seed: o.seed, Rate: o.rate, LeftOut: []string{}}
	fmt.Fprintf(out, "%s\n\n", r.Machine)
	failed := false
	for _, p := range parts {
		if !slices.Contains(o.only, p.name) {
			continue
		}
		t, err := p.measure(b)
		b.progress.Clear()
		if err != nil {
			fmt.Fprintf(out, "%s: %v\n\n", p.name, err)
			b.leaveOut("%s: %v", p.name, err)
			var lacks *lackError
			failed = failed || !errors.As(err, &lacks)
			continue
		}
		t.Name = p.name
		r.Parts = append(r.Parts, t)
		if err := t.write(out); err != nil {
			return err
		}
	}
	r.LeftOut = append(r.LeftOut, b.leftOut...)
	for _, line := range r.LeftOut {
		fmt.Fprintln(out, "left out:", line)
	}
	if err := show.Save(o.out, r); err != nil {
		return err
	}
	if failed {
		return errors.New("some parts failed, see above")
	}
	return nil
}
