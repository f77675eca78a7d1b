package workload

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/result"
)

// idle is what it costs that something stands in front of workers, when nobody
// connects.
var idle = Workload{
	Name:  "idle",
	Title: "What it costs when nothing happens",
	Cases: func(size Size) (cases []Case) {
		if size == Quick {
			return []Case{idling{groups: 10, settle: time.Second, length: 2 * time.Second}.idleCase()}
		}
		for _, groups := range []int{1, 10, 100} {
			cases = append(cases, idling{groups: groups, settle: 3 * time.Second, length: 10 * time.Second}.idleCase())
		}
		return cases
	},
}

// idling is some number of groups that idle.
type idling struct {
	groups int
	settle time.Duration // before the first round
	length time.Duration
}

func (i idling) idleCase() Case {
	var rows []string
	for _, idler := range i.idlers() {
		rows = append(rows, idler.Name)
	}
	measured := &idleMeasure{idling: i, fleets: map[string]*contender.Fleet{}}
	return Case{
		Name:     fmt.Sprintf("idle/%d", i.groups),
		Title:    fmt.Sprintf("%d groups to which nobody connects", i.groups),
		Rows:     rows,
		Baseline: "haproxy",
		Metrics: []result.Metric{
			{Name: "cpu", Title: "CPU, of one", Unit: "%"},
			{Name: "wakes", Title: "wake-ups", Unit: "/s"},
			{Name: "memory", Title: "memory", Unit: "MB"},
		},
		Note:     "Of what stands in front; the workers' own isn't in it, nor the kernel's memory for BPF programs and maps. All rows idle at the same time. HAProxy checks no servers here.",
		Length:   i.length + time.Duration(i.groups)*50*time.Millisecond,
		Together: measured.together,
	}
}

// idlers are those that make sense with so many groups.
func (i idling) idlers() []*contender.Idler {
	return slices.DeleteFunc(contender.Idlers(), func(idler *contender.Idler) bool { return idler.Most < i.groups })
}

// idleMeasure is a case with its fleets, which are started in the first round.
type idleMeasure struct {
	idling
	fleets map[string]*contender.Fleet
	failed map[string]string
}

func (i *idleMeasure) together(ctx context.Context, e Env, _ []*contender.Contender, round Round) (map[string]result.Sample, error) {
	if i.failed == nil {
		i.startAll(ctx, e)
		if err := pause(ctx, time.Now().Add(i.settle)); err != nil {
			return nil, err
		}
	}
	e.Say("round %d, %d are idle", round.Number+1, len(i.fleets))
	return i.measure(ctx)
}

func (i *idleMeasure) startAll(ctx context.Context, e Env) {
	i.failed = make(map[string]string)
	for _, idler := range i.idlers() {
		e.Say("starting %s for %d groups", idler.Name, i.groups)
		if missing := idler.Missing(); missing != "" {
			i.failed[idler.Name] = missing
			continue
		}
		f, err := e.Fleet(ctx, idler.Contender, contender.Setup{Workers: i.groups})
		if err != nil {
			i.failed[idler.Name] = err.Error()
			continue
		}
		i.fleets[idler.Name] = f
	}
}

func (i *idleMeasure) measure(ctx context.Context) (map[string]result.Sample, error) {
	samples, pids, before := make(map[string]result.Sample), make(map[string][]int), make(map[string]footprint)
	for name, why := range i.failed {
		samples[name] = result.Sample{Error: why}
	}
	began := time.Now()
	for name, f := range i.fleets {
		var err error
		if pids[name], err = inFront(f); err != nil {
			return nil, err
		}
		before[name] = footprintOf(pids[name])
	}
	if err := pause(ctx, began.Add(i.length)); err != nil {
		return nil, err
	}
	for name, f := range i.fleets {
		seconds := time.Since(began).Seconds()
		total := footprintOf(pids[name]).since(before[name])
		s := result.Sample{Values: map[string]float64{
			"cpu":    100 * total.cpu.Seconds() / seconds,
			"wakes":  float64(total.wakes) / seconds,
			"memory": float64(proportional(pids[name])) / 1e6,
		}}
		if err := f.Alive(); err != nil {
			s.Error = err.Error()
		}
		samples[name] = s
	}
	return samples, nil
}

// inFront are the processes of a fleet that aren't workers.
func inFront(f *contender.Fleet) ([]int, error) {
	all, err := f.PIDs()
	if err != nil {
		return nil, err
	}
	workers, err := f.Workers()
	return slices.DeleteFunc(all, func(pid int) bool { return slices.Contains(workers, pid) }), err
}
