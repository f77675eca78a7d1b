package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sockdist/sockdist/userspace/health"
	"github.com/sockdist/sockdist/userspace/health/rounds"
	"github.com/sockdist/sockdist/userspace/scaling"
)

// scales tells whether the number of workers follows the load.
func (c *Config) scales() bool { return c.ScaleAt != scaling.Target{} }

// completeScaling checks what is said of the number of workers.
func (c *Config) completeScaling() error {
	if !c.scales() {
		if c.Min != 0 || c.Max != 0 {
			return errors.New("the least and most workers are for an app that scales: say at which load (--scale-at)")
		}
		return nil
	}
	c.Min = max(c.Min, 1)
	if c.Max == 0 {
		c.Max = c.Workers
	}
	if c.Max > MaxWorkers || c.Min > c.Max {
		return fmt.Errorf("from %d to %d workers: take 1 to %d, the least first", c.Min, c.Max, MaxWorkers)
	}
	c.Workers = min(max(c.Workers, c.Min), c.Max)
	return nil
}

// mayScale tells whether somebody may ask for so many workers.
func (c *Config) mayScale(workers int) error {
	switch {
	case workers < 1 || workers > MaxWorkers:
		return fmt.Errorf("%d workers: take 1 to %d", workers, MaxWorkers)
	case c.scales() && (workers < c.Min || workers > c.Max):
		return fmt.Errorf("%d workers: this app scales by itself, from %d to %d", workers, c.Min, c.Max)
	}
	return nil
}

// scaleByLoad changes the number of workers with the load, until the app ends.
func (s *Supervisor) scaleByLoad() {
	if !s.config.scales() {
		return
	}
	scaler := scaling.New(s.config.ScaleAt, s.config.Min, s.config.Max)
	meter := &loadMeter{app: s}
	post := rounds.Every(scaling.Interval)
	defer post.Stop()
	for {
		select {
		case <-post.C:
		case <-s.urgency.at(stopping):
			return
		}
		sample, err := meter.read(health.Now())
		if err != nil {
			s.log.Error(fmt.Sprintf("measure the load: %v", err))
			continue
		}
		if step, ok := scaler.Look(health.Now(), sample); ok {
			s.scaleFor(step)
		}
	}
}

func (s *Supervisor) scaleFor(step scaling.Decision) {
	s.log.Info(fmt.Sprintf("scaling to %d workers: %s", step.Workers, step.Why))
	err := s.Scale(context.Background(), step.Workers, func(text string) { s.log.Info("scale: " + text) })
	if err != nil && !errors.Is(err, ErrEnding) {
		s.log.Error(fmt.Sprintf("scale to %d workers: %v", step.Workers, err))
	}
}

// loadMeter reads the load of all workers together.
type loadMeter struct {
	app  *Supervisor
	at   time.Duration
	used time.Duration // CPU time until then
}

func (m *loadMeter) read(now time.Duration) (scaling.Sample, error) {
	traffic, err := m.app.steering.Traffic()
	if err != nil {
		return scaling.Sample{}, err
	}
	sample := scaling.Sample{Workers: m.app.aims().workers}
	for _, w := range m.app.crew.staying() {
		sample.Connections += float64(traffic[w.slot].Connections)
	}
	used, err := m.app.tree.CPUTime()
	if err != nil {
		return sample, err
	}
	if m.at != 0 && now > m.at {
		sample.CPU = float64(used-m.used) / float64(now-m.at)
	}
	m.at, m.used = now, used
	return sample, nil
}
