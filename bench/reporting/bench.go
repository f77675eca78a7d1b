package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sockdist/sockdist/bench/show"
	"github.com/sockdist/sockdist/loader"
)

// bench is what all parts share.
type bench struct {
	options
	ctx      context.Context
	progress *show.Progress
	self     string // this program
	folder   string // temporary
	pins     string // folder
	started  int    // fleets
	loops    int    // of work in a microsecond
}

func newBench(ctx context.Context, o options) (*bench, error) {
	b := &bench{options: o, ctx: ctx, progress: show.NewProgress(os.Stderr)}
	host, err := loader.Open(loader.Options{})
	if err != nil {
		return nil, err
	}
	b.pins = filepath.Join(filepath.Dir(filepath.Dir(host.Dir())), fmt.Sprintf("sockdist-reporting-%d", os.Getpid()))
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if b.folder, err = os.MkdirTemp("", "reporting-"); err != nil {
		return nil, err
	}
	if err := b.build(); err != nil {
		b.close()
		return nil, err
	}
	b.loops = calibrate()
	return b, nil
}

func (b *bench) build() error {
	if b.sockdist != "" {
		return nil
	}
	b.progress.Show("building")
	defer b.progress.Clear()
	b.sockdist = filepath.Join(b.folder, "sockdist")
	build := exec.CommandContext(b.ctx, "go", "build", "-o", b.sockdist, "github.com/sockdist/sockdist/cmd/sockdist")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build sockdist: %w: %s", err, output)
	}
	return nil
}

func (b *bench) close() {
	os.RemoveAll(b.folder)
	_ = os.RemoveAll(b.pins)
}

// sleep ends early with the context, and then it is an error.
func (b *bench) sleep(d time.Duration) error {
	select {
	case <-b.ctx.Done():
		return b.ctx.Err()
	case <-time.After(d):
		return nil
	}
}
