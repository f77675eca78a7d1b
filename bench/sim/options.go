package sim

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the command line says.
type options struct {
	scenarios  []Scenario
	contenders []string
	rounds     int
	seed       uint64
	json       bool
	brief      bool
	out        string
}

const usage = `usage: sim [flags]
Simulates workers behind one port, with the selection code of bpf/ itself. Flags
with "by commas" take several values, and all combinations are simulated. Times
are multiples of the mean service time (0.5), or have a unit (300µs).

`

func parse(args []string, stderr io.Writer) (o options, err error) {
	var base Scenario
	flags := flag.NewFlagSet("sim", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is one line
	flags.Usage = func() {}
	workers := flags.String("workers", "8,64,256", "numbers of workers, 1 to 256, by commas")
	loads := flags.String("load", "0.85", "arriving work ÷ what all workers can do, by commas")
	kinds := flags.String("service", "exponential", "distributions of service times, by commas: "+strings.Join(Services(), ", "))
	rtts := flags.String("rtt", "0", "times from the pick to the end of the handshake, by commas")
	fin := flags.String("fin", "rtt", "time from the worker's close to the kernel's")
	pauses := flags.String("reports", "0", "times between two reports of a worker's load, by commas; 0: none; always: at each change")
	flags.BoolVar(&base.Spread, "spread", false, "each connection has a random RTT, exponential with the mean -rtt")
	flags.IntVar(&base.Worth, "worth", 1, "what a request counts for in a report, 1 to 1000")
	contenders := flags.String("contenders", strings.Join(slices.DeleteFunc(Contenders(), isShared), ","), "who chooses, by commas")
	flags.IntVar(&base.Connections, "connections", 0, "how many arrive (default 4000 a worker, and 200,000 at least)")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds, 1 or more, each with other arrivals")
	flags.Uint64Var(&o.seed, "seed", 1, "decides the arrivals")
	flags.DurationVar(&base.Mean, "mean", time.Millisecond, "mean service time")
	flags.IntVar(&base.Requests, "requests", 1, "requests on a connection, all of one cost")
	think := flags.String("think", "0", "mean pause between the requests of a connection")
	flags.Float64Var(&base.Slow, "slow", 1, "worker 0 takes so many times as long")
	speeds := flags.String("speeds", "100", "the workers' speeds in per cent, by commas, repeated for all")
	flags.BoolVar(&base.Weighed, "weigh", false, "weights are as the speeds")
	every := flags.String("every", "0", "time between disturbances")
	flags.BoolVar(&base.Crash, "crash", false, "disturbance: a worker dies")
	flags.BoolVar(&base.Drain, "drain", false, "disturbance: a worker drains, ends, and is replaced")
	back := flags.String("back", "0", "time until a worker's successor is there")
	flags.IntVar(&base.Burst, "burst", 0, "disturbance: so many connections come at once")
	flags.BoolVar(&o.json, "json", false, "print JSON instead of tables")
	flags.BoolVar(&o.brief, "brief", false, "print only p99 as ratios, a line for each scenario")
	flags.StringVar(&o.out, "o", "", "file for the results as JSON")
	if err := flags.Parse(args); err != nil {
		if isHelp(err) {
			fmt.Fprint(stderr, usage)
			flags.SetOutput(stderr)
			flags.PrintDefaults()
		}
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q: there are no arguments", flags.Arg(0))
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds %d: must be 1 or more", o.rounds)
	}
	if base.Mean <= 0 {
		return o, fmt.Errorf("-mean %v: must be more than 0", base.Mean)
	}
	r := reader{mean: base.Mean}
	o.contenders = r.names("contenders", *contenders, Contenders())
	base.Speeds = r.speeds(*speeds)
	base.Think, base.Every, base.Back = r.time("think", *think), r.time("every", *every), r.time("back", *back)
	base.Fin = AsRTT
	if *fin != "rtt" {
		base.Fin = r.time("fin", *fin)
	}
	axes := axes{
		workers: r.numbers("workers", *workers), loads: r.floats("load", *loads), rtts: r.times("rtt", *rtts),
		services: r.names("service", *kinds, Services()), reports: r.reports(*pauses),
	}
	if r.err != nil {
		return o, r.err
	}
	o.scenarios, err = axes.combine(base)
	return o, err
}

// axes are the values of which all combinations are simulated.
type axes struct {
	workers              []int
	loads, rtts, reports []float64
	services             []string
}

func (a *axes) combine(base Scenario) (all []Scenario, err error) {
	for _, service := range a.services {
		for _, workers := range a.workers {
			for _, load := range a.loads {
				for _, rtt := range a.rtts {
					for _, reports := range a.reports {
						s := base
						s.Service, s.Workers, s.Load, s.RTT, s.Reports = service, workers, load, rtt, reports
						if s, err = s.complete(); err != nil {
							return nil, err
						}
						all = append(all, s)
					}
				}
			}
		}
	}
	return all, nil
}

// A reader turns values of flags into numbers, and keeps the first error.
type reader struct {
	mean time.Duration
	err  error
}

func (r *reader) fail(flag, value, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("-%s %q: must be %s", flag, value, want)
	}
}

func (r *reader) names(flag, list string, known []string) []string {
	names := fields(list)
	for _, name := range names {
		if !slices.Contains(known, name) {
			r.fail(flag, name, "some of "+strings.Join(known, ", "))
		}
	}
	return names
}

func (r *reader) numbers(flag, list string) (all []int) {
	for _, field := range fields(list) {
		n, err := strconv.Atoi(field)
		if err != nil {
			r.fail(flag, list, "whole numbers, by commas")
		}
		all = append(all, n)
	}
	return all
}

func (r *reader) floats(flag, list string) (all []float64) {
	for _, field := range fields(list) {
		x, err := strconv.ParseFloat(field, 64)
		if err != nil {
			r.fail(flag, list, "numbers, by commas")
		}
		all = append(all, x)
	}
	return all
}

// time is in mean service times.
func (r *reader) time(flag, text string) float64 {
	if x, err := strconv.ParseFloat(text, 64); err == nil {
		return x
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		r.fail(flag, text, "a multiple of the mean service time (0.5), or have a unit (300µs)")
	}
	return float64(d) / float64(r.mean)
}

func (r *reader) times(flag, list string) (all []float64) {
	for _, field := range fields(list) {
		all = append(all, r.time(flag, field))
	}
	return all
}

func (r *reader) reports(list string) (all []float64) {
	for _, field := range fields(list) {
		if field == "always" {
			all = append(all, Always)
			continue
		}
		x := r.time("reports", field)
		if x < 0 {
			r.fail("reports", field, "0 or more, or always")
		}
		all = append(all, x)
	}
	return all
}

// speeds is nil where all are alike.
func (r *reader) speeds(list string) []int {
	all := r.numbers("speeds", list)
	if len(all) == 1 && all[0] == 100 {
		return nil
	}
	return all
}

func fields(list string) []string {
	all := strings.Split(list, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// isHelp tells whether who called just wanted to know the flags.
func isHelp(err error) bool { return errors.Is(err, flag.ErrHelp) }
