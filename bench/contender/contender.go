// Package contender is the ways to put several workers behind one port that
// the comparison knows, sockdist among them. Each is started as its own
// documentation recommends, in a cgroup of its own, and ended with all that it
// started. What it is configured with lies in bench/peers, for reading.
//
// All serve the same requests:
//
//	GET /            200, the worker's process ID and a newline
//	GET /work?us=N   the same, after the worker did nothing else for N µs, for
//	                 nobody else either
//	GET /stream      with Upgrade: 101, the process ID and a newline, and then
//	                 every byte comes back; the connection stays
//
// At SIGUSR2 a worker gets half as fast: each N counts twice, four times, …
package contender

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Contender can be started with any number of workers.
type Contender struct {
	Name   string // unique, such as "node-cluster"
	Title  string // for people
	Family Family
	Needs  []string // programs that must be on the path; with a slash: what must be in the checkout
	Can    Ability
	Start  func(ctx context.Context, s *Setup) (*Fleet, error)
}

// A Family is an app. Those of one family serve with the same program, so that
// their difference is what stands in front of it.
type Family string

// The apps that there are.
const (
	Node     Family = "node"
	Go       Family = "go"
	FastHTTP Family = "fasthttp"
	Python   Family = "python"
	Nginx    Family = "nginx"
)

// Ability is what a contender can be asked for.
type Ability uint

// Abilities.
const (
	Works    Ability = 1 << iota // GET /work
	Serial                       // can be set up to serve one connection at a time, accepting only when idle
	Keeps                        // keeps a connection for many requests
	Upgrades                     // GET /stream
	Slows                        // SIGUSR2
	Respawns                     // starts a worker that died again
	Reloads                      // Fleet.Reload
	Grows                        // Fleet.Grow
)

// Has tells whether a has all of b.
func (a Ability) Has(b Ability) bool { return a&b == b }

// Missing says why the contender can't be started here; "" if it can.
func (c *Contender) Missing() string {
	var missing []string
	for _, program := range c.Needs {
		if !there(program) {
			missing = append(missing, program)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("%s not found: make deps installs it", strings.Join(missing, ", "))
}

func there(need string) bool {
	if !strings.Contains(need, "/") {
		_, err := exec.LookPath(need)
		return err == nil
	}
	root, err := Root()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(root, need))
	return err == nil
}

// All are the contenders, those of a family together.
func All() []*Contender {
	var all []*Contender
	for _, some := range [][]*Contender{nodes(), gos(), prefork(), proxies(), nginxes(), pythons()} {
		all = append(all, some...)
	}
	return all
}

// ByName finds a contender; nil if there is none of that name.
func ByName(name string) *Contender {
	for _, c := range All() {
		if c.Name == name {
			return c
		}
	}
	return nil
}
