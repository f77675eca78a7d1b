package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/control"
)

// An applyError is what an apply didn't achieve.
type applyError struct {
	text  string
	lines []string
}

func (e *applyError) Error() string {
	return strings.Join(append([]string{e.text}, e.lines...), "\n")
}

// lines are those of an error.
func lines(err error) []string { return strings.Split(err.Error(), "\n") }

// The phases of an apply, in their order: what ends may have the address of what
// begins.
const (
	endings = iota
	changes
	beginnings
	phases
)

// A step is one thing that an apply does.
type step struct {
	phase int
	// what is a line that says it.
	what string
	do   func(say func(string)) error
}

// Apply reads the file again and changes what differs, or only says what it
// would change. A file with problems changes nothing. When a step fails the
// others are done all the same, and the error says which units aren't as the
// file says; the next Apply tries again.
func (d *Daemon) Apply(check bool, say func(string)) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	if d.isEnding() {
		return errors.New("the daemon is ending")
	}
	path := d.options.File.Path
	file, err := config.Load(path)
	var problems config.Problems
	if errors.As(err, &problems) {
		return &applyError{fmt.Sprintf("%s is not right, and nothing was changed:", path), lines(problems)}
	}
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	if may := d.options.MayApply; may != nil {
		if err := may(file); err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
	}
	steps := d.compare(file)
	if len(steps) == 0 {
		d.setFile(file)
		say("nothing has changed")
		return nil
	}
	if check {
		for _, s := range steps {
			say(s.what)
		}
		return nil
	}
	d.options.Manager.Reloading()
	defer func() { d.options.Manager.Reloaded(d.reports.line()) }()
	d.setFile(file) // operators count at once
	return d.perform(steps, say)
}

func (d *Daemon) setFile(file *config.File) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.file = file
}

// perform does the steps, those of a phase at once.
func (d *Daemon) perform(steps []step, say func(string)) error {
	var mu sync.Mutex
	var failed []string
	tell := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		say(text)
	}
	for phase := range phases {
		if d.isEnding() {
			return errors.New("the daemon is ending")
		}
		var group sync.WaitGroup
		for _, s := range steps {
			if s.phase != phase {
				continue
			}
			tell(s.what)
			d.log.Info("apply: " + s.what)
			group.Go(func() {
				unit, _, _ := strings.Cut(s.what, ":")
				err := s.do(func(text string) { tell(unit + ": " + text) })
				if err == nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, unit+": "+strings.Join(explain(err), "\n"))
			})
		}
		group.Wait()
	}
	if len(failed) == 0 {
		return nil
	}
	slices.Sort(failed)
	all := lines(errors.New(strings.Join(failed, "\n")))
	for _, line := range all {
		d.log.Error("apply: " + line)
	}
	return &applyError{"not all is as the configuration says; the next apply tries again:", all}
}

// explain is an error in lines, with what a worker printed that is to blame.
func explain(err error) []string {
	all := lines(err)
	var unready *control.NotReadyError
	if errors.As(err, &unready) {
		for _, line := range unready.Output {
			all = append(all, "  "+line)
		}
	}
	return all
}

// compare finds the steps from what is to what the file says.
func (d *Daemon) compare(file *config.File) (steps []step) {
	if d.desk.differs(file) {
		steps = append(steps, step{changes, "socket: opened anew as configured", func(func(string)) error { return d.desk.open(file) }})
	}
	steps = append(steps, d.compareGroups(file)...)
	steps = append(steps, d.compareAttachments(file)...)
	return append(steps, d.compareApps(file)...)
}
