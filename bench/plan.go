package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/workload"
)

// A planned case is one that will run, with the contenders that are there.
type planned struct {
	workload.Case
	workload string
	there    []*contender.Contender
}

// plan chooses what to run. It fails where a name that was asked for means nothing.
func plan(o *options) (cases []*planned, err error) {
	for _, w := range workload.All() {
		for _, c := range w.Cases(o.size) {
			if !o.wants(c.Name) {
				continue
			}
			p := &planned{Case: c, workload: w.Name, there: available(c, o)}
			if p.possible() {
				cases = append(cases, p)
			}
		}
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("-only %s: no such case, or none of its contenders is here: see bench list", strings.Join(o.only, ","))
	}
	return cases, nil
}

func (o *options) wants(name string) bool {
	return len(o.only) == 0 || slices.ContainsFunc(o.only, func(prefix string) bool {
		return name == prefix || strings.HasPrefix(name, strings.TrimSuffix(prefix, "/")+"/")
	})
}

// available are the contenders of a case that are wanted and installed.
func available(c workload.Case, o *options) (there []*contender.Contender) {
	for _, name := range c.Contenders {
		wanted := len(o.contenders) == 0 || name == c.Baseline || slices.Contains(o.contenders, name)
		if found := contender.ByName(name); found != nil && wanted && found.Missing() == "" {
			there = append(there, found)
		}
	}
	return there
}

// possible tells whether there is anybody to measure; some cases have rows of their own.
func (p *planned) possible() bool { return len(p.Contenders) == 0 || len(p.there) > 0 }

// takes is about how long the case takes.
func (p *planned) takes(repeat int) time.Duration {
	starts, rounds := time.Duration(len(p.there)), time.Duration(repeat)
	if p.Together == nil {
		rounds *= starts
	}
	return starts*p.Start + rounds*p.Length
}

// takes is about how long all of them take.
func takes(cases []*planned, repeat int) (total time.Duration) {
	for _, p := range cases {
		total += p.takes(repeat)
	}
	return total
}

// used are all contenders of the cases, and those that they name but can't have.
func used(cases []*planned) (all []*contender.Contender) {
	for _, c := range contender.All() {
		if slices.ContainsFunc(cases, func(p *planned) bool { return slices.Contains(p.Contenders, c.Name) }) {
			all = append(all, c)
		}
	}
	return all
}
