package main

import (
	"fmt"
	"time"
)

// Figures of the loads: a worker's core is busy for 60 % of the time, on
// average, and five heavy connections at once fill it.
const (
	lightCost = 200.0 // microseconds
	heavyCost = 100 * lightCost
	lifetime  = time.Second // of a kept connection, on average
)

// mixed is kept connections of two kinds: for two workers, 50 light ones and 5
// heavy ones at a time.
func mixed(workers int) []kind {
	n := float64(workers)
	return []kind{
		{name: "light", alive: 25 * n, life: lifetime, rate: 10, cost: lightCost},
		{name: "heavy", alive: 2.5 * n, life: lifetime, rate: 10, cost: heavyCost},
	}
}

// each asks for all numbers of workers.
func (b *bench) each(ask func(workers int) question) (tables []table, err error) {
	for _, n := range b.workers {
		q := ask(n)
		q.workers = n
		c, err := b.compare(q)
		if err != nil {
			return nil, err
		}
		tables = append(tables, c)
	}
	return tables, nil
}

func measureCosts(b *bench) ([]table, error) {
	return b.each(func(n int) question {
		return question{
			title: fmt.Sprintf("kept HTTP/1.1 connections, %.0f µs a request or 100 times that", lightCost),
			kinds: mixed(n), reporters: []reporter{connections, excess, inFlight},
		}
	})
}

func measureStreams(b *bench) ([]table, error) {
	return b.each(func(n int) question {
		kinds := mixed(n)
		for i := range kinds { // fewer connections, each with more at once
			kinds[i].alive, kinds[i].rate, kinds[i].streams = kinds[i].alive/2.5, 2.5*kinds[i].rate, 100
		}
		return question{
			title: fmt.Sprintf("kept HTTP/2 connections, %.0f µs a request or 100 times that", lightCost),
			kinds: kinds, reporters: []reporter{connections, excess, inFlight},
		}
	})
}

// measureCPU has less load: the workers' cores are this machine's own.
func measureCPU(b *bench) ([]table, error) {
	kinds := []kind{
		{name: "light", alive: 60, life: lifetime, rate: 10, cost: 100},
		{name: "heavy", alive: 6, life: lifetime, rate: 10, cost: 10_000},
	}
	c, err := b.compare(question{
		title:   "as costs, 100 µs or 10 ms of real work, on this machine's CPUs",
		workers: 4, kinds: kinds, settings: []string{fmt.Sprintf("%s=%d", loopsVariable, b.loops)},
		reporters: []reporter{connections, excess, inFlight, latency, both},
	})
	return []table{c}, err
}

// measureSpeed has connections that are all alike.
func measureSpeed(b *bench) ([]table, error) {
	return b.each(func(n int) question {
		// 4 ms on n−1 workers and 8 on one, at 60 % of what these can do.
		rate := 0.6 * (float64(n) - 0.5) / 0.004
		return question{
			title:    "kept HTTP/1.1 connections, 4 ms a request, one worker takes 8 ms",
			kinds:    []kind{{name: "all", alive: rate / 20, life: lifetime, rate: 20, cost: 4000}},
			settings: []string{slowVariable + "=2"}, reporters: []reporter{connections, excess, inFlight},
		}
	})
}

// measureEach has nothing that a report could tell: what is in flight is
// connected, and the kernel knows that.
func measureEach(b *bench) ([]table, error) {
	return b.each(func(n int) question {
		return question{
			title: "a connection for each request, 4 ms each",
			kinds: []kind{{name: "all", alive: 1, rate: 0.6 * float64(n) / 0.004, cost: 4000}},
			picks: true, reporters: []reporter{connections, zero, inFlight},
		}
	})
}
