package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/result"
	"github.com/sockdist/sockdist/bench/show"
	"github.com/sockdist/sockdist/internal/cgroup"
)

// A lab is what all cases of a run share: built programs, a folder, a cgroup, CPUs.
type lab struct {
	root     string // of the checkout
	folder   string
	tree     *cgroup.Tree
	programs contender.Programs
	cpus     cpus
	service  service
	seen     map[string]*contender.Fleet // the first of each contender, for the record
	starts   int
}

// openLab builds and makes what a run needs.
func openLab(ctx context.Context, progress *show.Progress) (l *lab, err error) {
	l = &lab{seen: make(map[string]*contender.Fleet)}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if err := clearLeftovers(); err != nil {
		return l, fmt.Errorf("end what a run that was killed has left: %w", err)
	}
	if l.folder, err = contender.Folder(); err != nil {
		return l, err
	}
	// Workers that run as somebody else must get at what lies in it.
	if err := os.Chmod(l.folder, 0o755); err != nil {
		return l, err
	}
	if err := noAutogroup(l.folder); err != nil {
		return l, err
	}
	if l.root, err = contender.Root(); err != nil {
		return l, err
	}
	progress.Show("building sockdist and the peers")
	if l.programs, err = contender.Build(ctx, l.root, l.folder); err != nil {
		return l, err
	}
	mount, err := cgroup.Find()
	if err != nil {
		return l, err
	}
	if l.tree, err = mount.Create(contender.RunName()); err != nil {
		return l, err
	}
	l.cpus, err = apart()
	return l, err
}

// close leaves nothing behind.
func (l *lab) close() (err error) {
	if l.tree != nil {
		err = errors.Join(l.tree.Kill(), l.tree.Remove(), l.tree.Close())
	}
	if l.folder != "" {
		err = errors.Join(err, restoreAutogroup(l.folder), os.RemoveAll(l.folder))
	}
	return err
}

// start starts a contender in a cgroup and a folder of its own.
func (l *lab) start(ctx context.Context, c *contender.Contender, s contender.Setup) (f *contender.Fleet, err error) {
	l.starts++
	name := fmt.Sprintf("%s-%d", c.Name, l.starts)
	s.Folder = filepath.Join(l.folder, name)
	if err := os.Mkdir(s.Folder, 0o755); err != nil {
		return nil, err
	}
	if s.Leaf, err = l.tree.Leaf(name); err != nil {
		return nil, err
	}
	s.Programs, s.CPUs = l.programs, l.cpus.servers
	if f, err = c.Start(ctx, &s); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.Name, err), s.Leaf.Remove())
	}
	if l.seen[c.Name] == nil {
		l.seen[c.Name] = f
	}
	return f, nil
}

// frameworks are the versions of what the peers in Go are built with.
func (l *lab) frameworks() map[string]string {
	versions := result.Modules(l.programs.FastHTTP, "github.com/valyala/fasthttp")
	maps.Copy(versions, result.Modules(l.programs.Fiber, "github.com/gofiber/fiber/v3"))
	return versions
}

// described is who was compared, as they were started. Paths are as seen from
// the checkout, and the run's own folder is $RUN: where they lay says nothing.
func (l *lab) described(all []*contender.Contender) (list []result.Contender) {
	short := strings.NewReplacer(l.root+"/", "", l.folder, "$RUN")
	for _, c := range all {
		d := result.Contender{Name: c.Name, Title: c.Title, Family: string(c.Family), Missing: c.Missing()}
		if f := l.seen[c.Name]; f != nil {
			for _, c := range f.Commands {
				d.Commands = append(d.Commands, strings.Split(short.Replace(strings.Join(c, "\x00")), "\x00"))
			}
			for _, c := range f.Configs {
				d.Configs = append(d.Configs, result.Config{Name: c.Name, Text: short.Replace(c.Text)})
			}
		}
		list = append(list, d)
	}
	return list
}
