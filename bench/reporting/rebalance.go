package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

const (
	keptClients = 40
	keptRate    = 1500.0 // requests a second of all of them
	keptCost    = 100.0  // microseconds
)

// keptRates are as unequal as 1, 1/2, 1/3, …: the first client has 23 % of all.
func keptRates() (rates []float64) {
	sum := 0.0
	for i := range keptClients {
		sum += 1 / float64(i+1)
	}
	for i := range keptClients {
		rates = append(rates, keptRate/float64(i+1)/sum)
	}
	return rates
}

// A course is how requests were spread over workers, second by second.
type course struct {
	Reporter string   `json:"reporter"`
	Round    int      `json:"round"`
	Seconds  []second `json:"seconds"`
	ScaledAt int      `json:"scaled_at"` // index in Seconds
	Failed   int      `json:"failed"`
	P99      float64  `json:"p99_ms"`
	Moved    int      `json:"reconnects"` // connections beyond the first of each client
}

// A second is one of a course.
type second struct {
	Workers []int   `json:"requests_by_worker"`
	Jain    float64 `json:"jain"` // (Σx)² / (n Σx²): 1 if all are alike, 1/n if one has all
	MaxMean float64 `json:"max_mean"`
}

type rebalanceTable struct {
	Title   string    `json:"title"`
	Courses []*course `json:"courses"`
}

// measureRebalance has clients that never leave by themselves.
func measureRebalance(b *bench) ([]table, error) {
	t := &rebalanceTable{Title: fmt.Sprintf("%d kept HTTP/1.1 connections with rates as 1, 1/2, 1/3, …, %.0f requests/s in all, from 2 to 4 workers after %v",
		keptClients, keptRate, b.settle)}
	rounds := (b.rounds + 2) / 3
	for round := range rounds {
		pair := []reporter{keeps, letsGo}
		if round%2 == 1 {
			pair[0], pair[1] = pair[1], pair[0]
		}
		for _, r := range pair {
			b.progress.Show("rebalance, round %d of %d: %s", round+1, rounds, r.name)
			c, err := b.course(r, uint64(round))
			if err != nil {
				return nil, err
			}
			c.Round = round + 1
			t.Courses = append(t.Courses, c)
		}
	}
	return []table{t}, nil
}

func (b *bench) course(r reporter, round uint64) (*course, error) {
	f, err := b.startFleet(r, 2, loopsVariable+"=0")
	if err != nil {
		return nil, err
	}
	defer f.end()
	ctx, stop := context.WithCancel(b.ctx)
	defer stop()
	w := newWatch()
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	for i, rate := range keptRates() {
		running.Go(func() { w.client(ctx, f.address, rate, rand.New(rand.NewPCG(b.seed+round, uint64(i)))) })
	}
	if err := b.sleep(b.settle); err != nil {
		return nil, err
	}
	scaled := time.Since(w.begin)
	if err := f.scale(4); err != nil {
		return nil, err
	}
	if err := f.await(4); err != nil {
		return nil, err
	}
	if err := b.sleep(b.settle); err != nil {
		return nil, err
	}
	stop()
	running.Wait()
	return w.course(r, scaled), nil
}

// watch counts requests by second and worker.
type watch struct {
	begin time.Time
	*record

	mu        sync.Mutex
	seconds   []map[string]int
	connected int
}

func newWatch() *watch {
	return &watch{begin: time.Now(), record: newRecord([]kind{{name: "all"}})}
}

// client asks at its rate, for as long as it can.
func (w *watch) client(ctx context.Context, address string, rate float64, random *rand.Rand) {
	c := &plainClient{address: address}
	defer c.close()
	k := &kind{name: "all"}
	for at := w.begin.Add(after(rate, random)); until(ctx, at); at = at.Add(after(rate, random)) {
		if c.conn == nil {
			w.connect()
		}
		worker, err := c.ask(keptCost)
		w.record.add(k, worker, time.Since(at), err)
		if err == nil {
			w.count(worker)
		}
	}
}

func (w *watch) connect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connected++
}

func (w *watch) count(worker string) {
	second := int(time.Since(w.begin) / time.Second)
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.seconds) <= second {
		w.seconds = append(w.seconds, make(map[string]int))
	}
	w.seconds[second][worker]++
}

// course leaves out the last second, which isn't over.
func (w *watch) course(r reporter, scaled time.Duration) *course {
	all := w.record.all()
	c := &course{Reporter: r.name, ScaledAt: int(scaled / time.Second), Failed: w.failed, P99: ms(all.ValueAtQuantile(99)), Moved: w.connected - keptClients}
	for i, by := range w.seconds[:max(0, len(w.seconds)-1)] {
		workers := 2
		if i > c.ScaledAt {
			workers = 4
		}
		s := second{Workers: make([]int, workers)}
		for slot := range s.Workers {
			s.Workers[slot] = by[fmt.Sprint(slot)]
		}
		s.Jain, s.MaxMean = jain(s.Workers), busiest(by, workers)
		c.Seconds = append(c.Seconds, s)
	}
	return c
}

func jain(all []int) float64 {
	sum, squares := 0.0, 0.0
	for _, x := range all {
		sum, squares = sum+float64(x), squares+float64(x)*float64(x)
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / float64(len(all)) / squares
}

// phase is Jain's index and the busiest worker, as means of some seconds.
func (c *course) phase(from, to int) string {
	from, to = max(0, from), min(to, len(c.Seconds))
	if from >= to {
		return "-"
	}
	jain, maxMean, n := 0.0, 0.0, float64(to-from)
	for _, s := range c.Seconds[from:to] {
		jain, maxMean = jain+s.Jain, maxMean+s.MaxMean
	}
	return fmt.Sprintf("%.2f  ×%.2f", jain/n, maxMean/n)
}

func (t *rebalanceTable) write(out io.Writer, part string) error {
	fmt.Fprintf(out, "%s: %s\nJain's index of the workers' requests in a second (1: all alike), and the busiest × the mean:\n", strings.ToUpper(part), t.Title)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "\tfirst 3 s\tlast 3 s before the scale\t3 s after it\t8–11 s after it\tlast 3 s\tp99 ms\treconnects\tfailed")
	for _, c := range t.Courses {
		cells := []string{fmt.Sprintf("%s, round %d", c.Reporter, c.Round)}
		at, end := c.ScaledAt, len(c.Seconds)
		for _, span := range [][2]int{{0, 3}, {at - 3, at}, {at + 1, at + 4}, {at + 8, at + 11}, {end - 3, end}} {
			cells = append(cells, c.phase(span[0], span[1]))
		}
		fmt.Fprintf(w, "%s\t%.1f\t%d\t%d\n", strings.Join(cells, "\t"), c.P99, c.Moved, c.Failed)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}
