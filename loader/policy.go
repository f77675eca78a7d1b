package loader

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// A Policy is the rule by which a group's picks go.
type Policy uint32

const (
	Least  Policy = iota // the lowest score of all; ties at random
	P2C                  // the better of two slots
	RR                   // one after the other
	Random               // any
	Hash                 // by the client's address
)

var policyNames = [...]string{Least: "least", P2C: "p2c", RR: "rr", Random: "random", Hash: "hash"}

// Policies lists all policies.
func Policies() []Policy { return []Policy{Least, P2C, RR, Random, Hash} }

func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy(%d)", uint32(p))
}

func (p Policy) check() error {
	if int(p) >= len(policyNames) {
		return fmt.Errorf("%s: %w", p, unix.EINVAL)
	}
	return nil
}

// ParsePolicy finds a policy by name. The error wraps unix.EINVAL.
func ParsePolicy(name string) (Policy, error) {
	for p, known := range policyNames {
		if name == known {
			return Policy(p), nil
		}
	}
	return 0, fmt.Errorf("policy %q: use one of %s: %w", name, strings.Join(policyNames[:], ", "), unix.EINVAL)
}

// A State is what a slot is in.
type State uint32

const (
	Free     State = iota // nobody is in it
	Live                  // it gets new connections
	Draining              // it gets none, and keeps those it has: drained, leaving, or of weight 0
	Gone                  // its listener was closed or shut
	Ejected               // it gets none: its worker hangs
	Starting              // it gets none yet
)

var stateNames = [...]string{Free: "free", Live: "live", Draining: "draining", Gone: "gone", Ejected: "ejected", Starting: "starting"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint32(s))
}
