package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/loader"
)

// A suite is one run.
type suite struct {
	options
	*diary
	ctx    context.Context // over: begin nothing more
	folder string          // temporary
	pins   string          // folder
	ends   time.Time       // of the rounds

	installed map[string][]string
	taken     map[int]bool // ports
	mounts    []string
	subjects  []subject

	mu   sync.Mutex
	runs map[*service][]*ledger.Run
}

// overtime bounds what comes after the last round.
const overtime = 6 * time.Minute

// run is the whole of it. The error says that something was lost, left or broken.
func run(ctx context.Context, o options, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, o.slow(o.duration+overtime))
	defer cancel()
	s := &suite{
		options: o, ctx: ctx, ends: time.Now().Add(o.duration),
		diary:     &diary{console: newConsole(out), begin: ledger.Now()},
		installed: make(map[string][]string), taken: make(map[int]bool), runs: make(map[*service][]*ledger.Run),
	}
	s.console.line("seed %d; to repeat it: %s", o.seed, o.command())
	err := s.prepare()
	if err == nil {
		s.chaos()
	} else {
		s.fail(ledger.Now(), "chaos", err.Error())
	}
	s.endAll()
	left := s.leftovers()
	for _, what := range left {
		s.fail(ledger.Now(), "chaos", "left: "+what)
	}
	if err := s.report(left); err != nil {
		return err
	}
	return s.conclude()
}

// conclude is the last word.
func (s *suite) conclude() error {
	failed := s.hasFailed()
	left := s.unmount()
	if failed || s.keep || len(left) > 0 {
		s.console.line("logs and records are in %s", s.folder)
	} else if s.folder != "" {
		if err := os.RemoveAll(s.folder); err != nil {
			return err
		}
	}
	switch {
	case len(left) > 0:
		return errors.New(left[0])
	case failed:
		return fmt.Errorf("failed; to repeat it: %s", s.command())
	case s.ctx.Err() != nil:
		return errors.New("interrupted, and ended in order")
	}
	return nil
}

// prepare builds and starts everything.
func (s *suite) prepare() (err error) {
	if s.folder, err = os.MkdirTemp("", "chaos-"); err != nil {
		return err
	}
	host, err := loader.Open(loader.Options{})
	if err != nil {
		return err
	}
	s.pins = filepath.Join(filepath.Dir(filepath.Dir(host.Dir())), fmt.Sprintf("sockdist-chaos-%d", os.Getpid()))
	if err := s.build(); err != nil {
		return err
	}
	s.ends = time.Now().Add(s.duration)
	for number := range s.apps {
		a, err := s.newApp(number)
		if err != nil {
			return err
		}
		if err := a.launchFirst(); err != nil {
			return err
		}
	}
	b, err := s.newBeside(s.apps)
	if b != nil {
		s.subjects = append(s.subjects, b)
	}
	return err
}

// launchFirst makes the app one that has to be ended.
func (a *app) launchFirst() error {
	if err := a.launch(); err != nil {
		return err
	}
	a.subjects = append(a.subjects, a)
	a.write(a.name, "%s starts (pid %d): sockdist run %s", a.profile.server, a.present().pid(), joined(a.flags))
	return a.rest()
}

func (s *suite) build() error {
	if s.sockdist == "" {
		s.sockdist = s.path("sockdist")
		build := exec.CommandContext(s.ctx, "go", "build", "-o", s.sockdist, "github.com/sockdist/sockdist/cmd/sockdist")
		if output, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build sockdist: %w: %s", err, output)
		}
	}
	var err error
	if s.sockdist, err = filepath.Abs(s.sockdist); err == nil && s.server != "" {
		s.server, err = filepath.Abs(s.server)
	}
	return err
}

func (s *suite) path(name string) string { return filepath.Join(s.folder, name) }

// chaos breaks all subjects at once until the time is over.
func (s *suite) chaos() {
	stop := make(chan struct{})
	var looking, breaking sync.WaitGroup
	looking.Go(func() { s.lookOn(stop) })
	looking.Go(func() { s.showProgress(stop) })
	for _, x := range s.subjects {
		breaking.Go(func() { s.rounds(x) })
	}
	breaking.Wait()
	close(stop)
	looking.Wait()
}

// endAll ends all subjects, at once.
func (s *suite) endAll() {
	var ending sync.WaitGroup
	for _, x := range s.subjects {
		ending.Go(func() {
			if err := x.end(); err != nil {
				s.fail(ledger.Now(), x.own().name, "end: "+err.Error())
			}
		})
	}
	ending.Wait()
}

// sleep ends early with the context.
func (s *suite) sleep(d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(d):
	}
}

// watch has the progress of loads shown.
func (s *suite) watch(own *service, runs []*ledger.Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[own] = runs
}

func (s *suite) showProgress(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Second):
		}
		var sum ledger.Progress
		s.mu.Lock()
		for _, runs := range s.runs {
			for _, r := range runs {
				p := r.Progress()
				sum.Opened, sum.Open, sum.Lost = sum.Opened+p.Opened, sum.Open+p.Open, sum.Lost+p.Lost
			}
		}
		s.mu.Unlock()
		s.console.progress("%d connections in these rounds, %d open, %d lost", sum.Opened, sum.Open, sum.Lost)
	}
}

// freePort finds a port where nobody listens, outside of what the kernel gives
// to clients.
func (s *suite) freePort() (int, error) {
	for range 100 {
		port := 10000 + rand.IntN(20000)
		if s.taken[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err == nil {
			l.Close()
			s.taken[port] = true
			return port, nil
		}
	}
	return 0, errors.New("no port from 10000 to 30000 is free")
}
