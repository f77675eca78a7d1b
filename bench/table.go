package main

import (
	"hash/fnv"
	"slices"

	"github.com/sockdist/sockdist/bench/result"
)

// newTable is the table of a case, with a row for everybody who will be measured.
func newTable(p *planned) *result.CaseResult {
	table := &result.CaseResult{Workload: p.workload, Name: p.Name, Title: p.Title, Baseline: p.Baseline, Metrics: p.Metrics, Note: p.Note}
	for _, c := range p.there {
		table.Rows = append(table.Rows, result.Row{Contender: c.Name})
	}
	for _, name := range p.Rows {
		table.Rows = append(table.Rows, result.Row{Contender: name})
	}
	return table
}

// add notes what a round gave for a contender.
func add(table *result.CaseResult, name string, s result.Sample) {
	i := slices.IndexFunc(table.Rows, func(r result.Row) bool { return r.Contender == name })
	if i < 0 {
		table.Rows = append(table.Rows, result.Row{Contender: name})
		i = len(table.Rows) - 1
	}
	table.Rows[i].Rounds = append(table.Rows[i].Rounds, s)
}

// addAll notes what a round gave for all of them. Where it failed as a whole,
// or has nothing for somebody, that is the error of the round.
func addAll(table *result.CaseResult, samples map[string]result.Sample, err error) {
	for _, row := range slices.Clone(table.Rows) {
		s, found := samples[row.Contender]
		switch {
		case found:
		case err != nil:
			s = result.Sample{Error: err.Error()}
		default:
			s = result.Sample{Error: "it was not measured"}
		}
		add(table, row.Contender, s)
	}
}

// seedOf is the seed of one round of one case, whatever else runs.
func seedOf(seed uint64, name string, round int) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64() ^ (seed + uint64(round)*0x9e3779b97f4a7c15)
}
