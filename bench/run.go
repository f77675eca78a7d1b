package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/report"
	"github.com/sockdist/sockdist/bench/result"
	"github.com/sockdist/sockdist/bench/show"
	"github.com/sockdist/sockdist/bench/workload"
)

// A run is one comparison from start to end.
type run struct {
	*options
	cases    []*planned
	lab      *lab
	clock    *clock
	out      io.Writer
	progress *show.Progress
	results  *result.Results
}

// compareAll runs what the options say. What was measured until an error or an
// interrupt is written too.
func compareAll(ctx context.Context, o *options, stdout io.Writer, terminal *os.File) (err error) {
	cases, err := plan(o)
	if err != nil {
		return err
	}
	r := &run{options: o, cases: cases, out: stdout, progress: show.NewProgress(terminal), results: &result.Results{
		Schema: result.Schema, Started: time.Now().UTC().Truncate(time.Second), Command: append([]string{"bench"}, o.args...),
		Seed: o.seed, Repeat: o.repeat}}
	r.nameFiles()
	if err := o.makeRoom(); err != nil {
		return err
	}
	if r.lab, err = openLab(ctx, r.progress); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.lab.close()) }()
	r.results.Machine = result.ThisMachine() // with what the run has changed
	maps.Copy(r.results.Machine.Versions, r.lab.frameworks())
	r.announce()
	err = r.measure(ctx)
	r.progress.Clear()
	if len(r.results.Cases) == 0 {
		return err
	}
	return errors.Join(err, r.write())
}

// nameFiles gives files without a name the time as theirs.
func (r *run) nameFiles() {
	if r.options.out == "" {
		r.options.out = "results/" + r.results.Started.Format("2006-01-02T150405") + ".json"
	}
	if r.page == "" {
		r.page = strings.TrimSuffix(r.options.out, ".json") + ".html"
	}
}

// announce says beforehand what will happen, for how long, and who is missing.
func (r *run) announce() {
	expected := takes(r.cases, r.repeat) + trustTakes(r.size)
	r.clock = newClock(expected)
	fmt.Fprintf(r.out, "%d cases of %d contenders, %d rounds each, seed %d: about %v, until %s\n",
		len(r.cases), r.compared(), r.repeat, r.seed, expected.Round(time.Minute), time.Now().Add(expected).Format("15:04"))
	for _, c := range used(r.cases) {
		if missing := c.Missing(); missing != "" {
			fmt.Fprintf(r.out, "left out: %s: %s\n", c.Name, missing)
		}
	}
	if a := r.results.Machine.Load[0]; a > 0.5 {
		fmt.Fprintf(r.out, "this machine is not idle (load average %.1f): figures will scatter\n", a)
	}
	fmt.Fprintln(r.out)
}

// compared is how many will be measured.
func (r *run) compared() int {
	names := make(map[string]bool)
	for _, p := range r.cases {
		for _, c := range p.there {
			names[c.Name] = true
		}
	}
	return len(names)
}

// measure lets the harness prove itself, and then runs case after case.
func (r *run) measure(ctx context.Context) (err error) {
	began := time.Now()
	defer func() {
		r.results.Seconds = time.Since(began).Seconds()
		r.results.Contenders = r.lab.described(used(r.cases))
	}()
	if r.results.Trust, err = r.lab.prove(ctx, r.size, r.say("proof")); err != nil {
		return fmt.Errorf("the harness's proof of itself: %w", err)
	}
	sayTrust(r.out, r.results.Trust)
	r.results.Machine.Clients, r.results.Machine.Servers = listed(r.lab.cpus.clients), listed(r.lab.cpus.servers)
	r.clock.did(trustTakes(r.size))
	for i, p := range r.cases {
		if err := r.one(ctx, i, p); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		r.clock.did(p.takes(r.repeat))
	}
	return nil
}

// one runs a case and prints its table. Contenders that fail are in it with
// their errors; an error is returned when the run can't go on.
func (r *run) one(ctx context.Context, number int, p *planned) error {
	e := r.lab.env(r.say(fmt.Sprintf("%d/%d %s", number+1, len(r.cases), p.Name)))
	table := newTable(p)
	for n := range r.repeat {
		round := workload.Round{Number: n, Seed: seedOf(r.seed, p.Name, n), Size: r.size}
		r.round(ctx, e, p, round, table)
		if err := ctx.Err(); err != nil {
			return errors.Join(errors.New("interrupted"), e.end())
		}
	}
	ended := e.end()
	table.Judge()
	r.results.Cases = append(r.results.Cases, *table)
	r.progress.Clear()
	report.Table(r.out, table)
	fmt.Fprintln(r.out)
	return ended
}

// say shows what goes on in a part of the run, and how much time is left.
func (r *run) say(part string) func(format string, args ...any) {
	return func(format string, args ...any) {
		r.progress.Show("%s left  %s  %s", r.clock.left(), part, fmt.Sprintf(format, args...))
	}
}

// round measures every contender once.
func (r *run) round(ctx context.Context, e *env, p *planned, round workload.Round, table *result.CaseResult) {
	if p.Together != nil {
		e.Say("round %d", round.Number+1)
		samples, err := p.Together(ctx, e, p.there, round)
		addAll(table, samples, err)
		return
	}
	for _, c := range order(p.there, round.Seed) {
		if ctx.Err() != nil {
			return
		}
		e.Say("round %d, %s", round.Number+1, c.Name)
		sample, err := p.Measure(ctx, e, c, round)
		if err != nil {
			sample = result.Sample{Error: err.Error()}
		}
		add(table, c.Name, sample)
	}
}

// order is another one for each seed, so that nobody is always the first.
func order(all []*contender.Contender, seed uint64) []*contender.Contender {
	mixed := append([]*contender.Contender(nil), all...)
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	return mixed
}

// write saves the results and the page.
func (r *run) write() error {
	if err := r.results.Save(r.options.out); err != nil {
		return err
	}
	page, err := os.Create(r.page)
	if err != nil {
		return err
	}
	if err := errors.Join(report.Page(page, r.results), page.Close()); err != nil {
		return err
	}
	fmt.Fprintf(r.out, "results: %s\npage:    %s\n", r.options.out, r.page)
	return nil
}
