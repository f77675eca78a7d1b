package kernels

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// Matrix runs every package under every kernel.
type Matrix struct {
	Machine  Machine
	Images   []Image
	Packages []Package // built, or not: then Failed says why
	Failed   map[string]error
	Jobs     int       // kernels at once
	Output   io.Writer // of the guests, line by line
}

// Result is the outcome of one package under one kernel.
type Result struct {
	Image   Image
	Package Package
	Err     error
	Took    time.Duration
	NoTests bool // the tests were run and none was chosen
}

// Run gives the results in the order of kernels, then packages. When ctx ends,
// what hasn't been run fails with its error.
func (m Matrix) Run(ctx context.Context) []Result {
	results := make([]Result, len(m.Images)*len(m.Packages))
	slots := make(chan struct{}, max(m.Jobs, 1))
	var running sync.WaitGroup
	var console sync.Mutex
	for i, image := range m.Images {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			for j, p := range m.Packages {
				results[i*len(m.Packages)+j] = m.one(ctx, image, p, &console)
			}
		})
	}
	running.Wait()
	return results
}

func (m Matrix) one(ctx context.Context, image Image, p Package, console *sync.Mutex) Result {
	r := Result{Image: image, Package: p, Err: m.Failed[p.Path]}
	if r.Err != nil {
		return r
	}
	start := time.Now()
	out := &lines{mu: console, out: m.Output, prefix: fmt.Sprintf("%-6s | ", image.Name), see: func(line string) {
		if line == "testing: warning: no tests to run" {
			r.NoTests = true
		}
	}}
	r.Err = m.Machine.Boot(ctx, image, p, out)
	out.flush()
	r.Took = time.Since(start)
	return r
}
