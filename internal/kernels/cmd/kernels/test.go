package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/sockdist/sockdist/internal/kernels"
	"github.com/sockdist/sockdist/internal/kernels/debian"
)

func (o *options) newCache() kernels.Cache {
	c := kernels.Cache{Dir: o.cache, Mirror: debian.MachineMirror, MaxAge: 24 * time.Hour, Log: os.Stderr}
	if o.mirror != "" {
		c.Mirror = func(context.Context) (debian.Mirror, error) { return debian.MirrorUnder(o.mirror), nil }
	}
	if o.update {
		c.MaxAge = 0
	}
	return c
}

// test builds, boots and reports.
func test(ctx context.Context, o options) (failed int, err error) {
	tools := slices.Concat(kernels.Emulator(), kernels.Fetchers())
	if o.race {
		tools = append(tools, kernels.RaceBuilders()...)
	}
	if err := kernels.Ensure(ctx, tools, os.Stderr); err != nil {
		return 0, err
	}
	work, err := os.MkdirTemp("", "sockdist-kernels-*")
	if err != nil {
		return 0, fmt.Errorf("make a working folder: %w", err)
	}
	defer os.RemoveAll(work)

	matrix := kernels.Matrix{Jobs: o.jobs, Output: os.Stdout, Machine: kernels.Machine{
		Dir: work, Memory: o.memory, Timeout: o.timeout, Bpffs: o.bpffs, KernelLog: o.kernelLog, Args: o.guestArgs(),
	}}
	if err := o.build(ctx, work, &matrix); err != nil {
		return 0, err
	}
	if len(matrix.Packages) == 0 {
		return 0, fmt.Errorf("no package has tests")
	}
	for _, k := range o.kernels {
		image, err := o.newCache().Get(ctx, k)
		if err != nil {
			return 0, err
		}
		matrix.Images = append(matrix.Images, image)
	}
	return kernels.Summarize(os.Stdout, matrix.Run(ctx)), nil
}

// build makes the binaries. A package that can't be built fails by itself, under
// every kernel; the others run.
func (o *options) build(ctx context.Context, work string, m *kernels.Matrix) error {
	b := kernels.Build{Dir: work, Race: o.race, Tags: o.tags, Output: os.Stderr}
	packages, err := b.List(ctx, o.packages)
	if err != nil {
		return err
	}
	if m.Machine.Init, err = b.Init(ctx); err != nil {
		return err
	}
	m.Failed = map[string]error{}
	for _, p := range packages {
		if !p.Tests {
			fmt.Printf("?  %s  no test files\n", p.Path)
			continue
		}
		built, err := b.Test(ctx, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			m.Failed[p.Path] = err
		}
		m.Packages = append(m.Packages, built)
	}
	return nil
}
