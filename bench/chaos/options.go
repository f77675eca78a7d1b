package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"time"
)

// options are the command line.
type options struct {
	duration time.Duration
	round    time.Duration
	seed     uint64
	apps     int
	rate     float64 // of each app
	json     string
	keep     bool
	slowness int // multiplies limits of time
	plan     bool
	// sockdist and server are built programs; "" to build them.
	sockdist, server string
}

const (
	defaultDuration = 10 * time.Minute
	roundLength     = 20 * time.Second
	mostApps        = 12
	mostRate        = 2000
	shortRound      = 10 * time.Second
	shortRate       = 20
)

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.DurationVar(&o.duration, "duration", defaultDuration, "begin no new round after this time; it takes about half a minute more")
	flags.Uint64Var(&o.seed, "seed", 0, "decides the events and their times; 0: another each time")
	flags.IntVar(&o.apps, "apps", 3, fmt.Sprintf("apps of sockdist run, 1 to %d; one of plain SO_REUSEPORT is beside them", mostApps))
	flags.Float64Var(&o.rate, "rate", 60, fmt.Sprintf("connections a second to each app, up to %d", mostRate))
	flags.IntVar(&o.slowness, "slowness", 1, "1 to 100: for a slow machine, how many times longer everything may take; events come as much more rarely")
	short := flags.Bool("short", false, "one round of 10 s with one app at 20 connections a second")
	flags.StringVar(&o.json, "json", "", "file for the result as JSON")
	flags.BoolVar(&o.keep, "keep", false, "keep the folder with the logs and records also when all is well")
	flags.BoolVar(&o.plan, "plan", false, "only print the events of the seed")
	flags.StringVar(&o.sockdist, "sockdist", "", "the sockdist to break (default: built from this module)")
	flags.StringVar(&o.server, "server", "", "the ledger's server in Go, built (default: built from this module)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.round = roundLength
	if *short {
		o.duration, o.round, o.apps, o.rate = shortRound, shortRound, 1, shortRate
	}
	if o.slowness < 1 || o.slowness > 100 {
		return o, fmt.Errorf("-slowness %d: must be 1 to 100", o.slowness)
	}
	if o.seed == 0 {
		o.seed = 1 + rand.Uint64N(1<<32)
	}
	switch {
	case flags.NArg() > 0:
		return o, errors.New("there are no arguments, only flags: see -help")
	case o.duration <= 0 || o.duration > 24*time.Hour:
		return o, fmt.Errorf("-duration %v: must be more than 0, and a day at most", o.duration)
	case o.apps < 1 || o.apps > mostApps:
		return o, fmt.Errorf("-apps %d: must be 1 to %d", o.apps, mostApps)
	case o.rate <= 0 || o.rate > mostRate:
		return o, fmt.Errorf("-rate %v: must be more than 0 and at most %d", o.rate, mostRate)
	}
	return o, nil
}

// slow is a length of time as it is on this machine.
func (o options) slow(d time.Duration) time.Duration { return d * time.Duration(o.slowness) }

// command is how to repeat the run.
func (o options) command() string {
	return fmt.Sprintf("chaos -seed %d -duration %v -apps %d -rate %v", o.seed, o.duration, o.apps, o.rate)
}
