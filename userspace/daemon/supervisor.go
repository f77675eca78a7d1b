package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/output"
)

// supervisor makes one. Nothing is touched.
func (a *app) supervisor(settings config.App) (*control.Supervisor, Kernel, error) {
	meant, faults := settings.Read(a.name)
	if len(faults) > 0 {
		return nil, nil, fmt.Errorf("%s: %w", faults[0].Key, faults[0].Err)
	}
	o := a.daemon.options
	c := meant.Config
	c.Managed, c.Manager, c.Logger, c.RuntimeDir = true, a.manager, a.log, o.Runtime
	c.Relay = o.Relay(a.name)
	c.Standby = o.called(settings.Activation)
	if c.Log == output.Auto {
		c.Log = output.Prefix // several apps print to the same place
	}
	kernel := o.Kernel(meant.Policy, meant.UDP, a.log)
	s, err := control.New(c, kernel)
	return s, kernel, err
}

// endLeftover ends the workers that an earlier daemon left of an app.
func (d *Daemon) endLeftover(old config.App) error {
	log := d.log.With("app", old.Name)
	c := control.Config{
		Name: old.Name, Command: []string{"/proc/self/exe"}, Workers: 1, EndOnly: true, Grace: old.Grace,
		RuntimeDir: d.options.Runtime, Logger: log, Relay: d.options.Relay(old.Name),
	}
	s, err := control.New(c, d.options.Kernel(0, old.UDP, log))
	if err != nil {
		return err
	}
	s.Signal(unix.SIGTERM)
	return s.Run(context.Background())
}

// firstLine leaves out what a worker printed, which is in the log already.
func firstLine(err error) error {
	first, rest, _ := strings.Cut(err.Error(), "\n")
	if rest == "" {
		return err
	}
	return errors.New(first)
}
