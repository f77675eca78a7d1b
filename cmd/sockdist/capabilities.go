package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/internal/capabilities"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// A right is work of a verb's that takes capabilities.
type right struct {
	work capabilities.Work
	when condition
	// without is what the verb does without it; "": it fails, with exit code 3.
	without string
}

// A condition is when a verb does some work, as in "…: CAP_KILL".
type condition string

const (
	always       condition = ""
	withUser     condition = "with --user"
	withApps     condition = "with apps"
	withGroups   condition = "with groups"
	withLowPorts condition = "with groups on ports below 1024"
	withOwner    condition = "with another owner of the control socket"
	abandoned    condition = "when the supervisor was killed, and workers have another user"
	ofOthers     condition = "when the server has another user, or capabilities that this process hasn't"
	elsewhere    condition = "in another network namespace"
	closed       condition = "when pins or cgroups are closed to this user"
	unmounted    condition = "while bpffs isn't mounted"
)

// rightsOf is what each verb needs. Help, man pages, doctor and the checks go by
// it; a test takes each capability away; docs/SECURITY.md is compared with it.
var rightsOf = map[string][]right{
	"run": {
		{capabilities.Steer, always, ""}, {capabilities.Hook, always, ""}, {capabilities.Fetch, always, ""},
		{capabilities.Become, withUser, ""}, {capabilities.Signal, withUser, ""}, {capabilities.Look, withUser, ""},
		{capabilities.Closed, closed, ""}, {capabilities.Mount, unmounted, ""},
	},
	"attach": {
		{capabilities.Steer, always, ""},
		{capabilities.Fetch, ofOthers, ""}, {capabilities.Look, ofOthers, ""}, {capabilities.Namespaces, elsewhere, ""},
		{capabilities.Closed, closed, ""}, {capabilities.Mount, unmounted, ""},
	},
	"detach": {
		{capabilities.Steer, always, ""},
		{capabilities.Fetch, ofOthers, ""}, {capabilities.Look, ofOthers, ""}, {capabilities.Namespaces, elsewhere, ""},
		{capabilities.Closed, closed, ""},
	},
	"status": {
		{capabilities.Steer, always, "says that it can't tell who steers"},
		{capabilities.Fetch, ofOthers, "doesn't name who holds a socket"}, {capabilities.Look, ofOthers, "doesn't name who holds a socket"},
		{capabilities.Namespaces, elsewhere, "shows no backlogs"},
		{capabilities.Closed, closed, ""},
	},
	"demo": {{capabilities.Steer, always, ""}, {capabilities.Closed, closed, ""}, {capabilities.Mount, unmounted, ""}},
	"serve": {
		{capabilities.Steer, always, ""}, {capabilities.Hook, withApps, ""}, {capabilities.Deafen, withGroups, ""}, {capabilities.Present, withGroups, ""},
		{capabilities.Fetch, always, ""}, {capabilities.Look, always, ""},
		{capabilities.Become, withUser, ""}, {capabilities.Signal, withUser, ""}, {capabilities.Listen, withLowPorts, ""},
		{capabilities.Give, withOwner, ""},
		{capabilities.Namespaces, elsewhere, ""}, {capabilities.Closed, closed, ""}, {capabilities.Mount, unmounted, ""},
	},
	"stop":    {{capabilities.Signal, abandoned, ""}, {capabilities.Closed, closed, ""}},
	"reload":  {{capabilities.Closed, closed, ""}},
	"scale":   {{capabilities.Closed, closed, ""}},
	"policy":  {{capabilities.Closed, closed, ""}},
	"drain":   {{capabilities.Closed, closed, ""}},
	"undrain": {{capabilities.Closed, closed, ""}},
	"weight":  {{capabilities.Closed, closed, ""}},
	"maxconn": {{capabilities.Closed, closed, ""}},
	"probe":   {{capabilities.Closed, closed, ""}},
	"doctor": {
		{capabilities.Steer, always, "says what it couldn't try"}, {capabilities.Hook, always, "says what it couldn't try"},
		{capabilities.Namespaces, always, "says what it couldn't try"},
	},
	"check": nil, "apply": nil, "version": nil, "man": nil, "completion": nil, "help": nil,
}

// unchecked, which a test has the linker set, is for seeing what the kernel
// itself refuses.
var unchecked = ""

// needs are the capabilities that a verb fails without, in the order of the
// table: always, and under these conditions.
func needs(verb string, when ...condition) (all []capabilities.Capability) {
	for _, r := range rightsOf[verb] {
		if r.without != "" || r.when != always && !slices.Contains(when, r.when) {
			continue
		}
		for _, n := range r.work.Needs() {
			if !slices.Contains(all, n.Capability) {
				all = append(all, n.Capability)
			}
		}
	}
	return all
}

// may names exactly the capabilities that this process lacks for a verb.
func may(verb string, when ...condition) error {
	if unchecked != "" {
		return nil
	}
	have, err := capabilities.Effective()
	if err != nil {
		return err
	}
	return lacking(verb, have, needs(verb, when...))
}

func lacking(verb string, have capabilities.Set, wanted []capabilities.Capability) error {
	var missing []string
	for _, c := range wanted {
		if !have.Allows(c) {
			missing = append(missing, c.String())
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &loader.UnsupportedError{Feature: fmt.Sprintf("%s as this user (uid %d)", verb, os.Geteuid()),
		Err: fmt.Errorf("missing %s", strings.Join(missing, ", ")), Advice: adviceOnRights(os.Geteuid())}
}

// explainClosed names the right to closed folders if that is what was missing.
func explainClosed(feature string, err error) error {
	have, readErr := capabilities.Effective()
	if readErr != nil || !errors.Is(err, fs.ErrPermission) || have.Allows(capabilities.DACOverride) {
		return err
	}
	return &loader.UnsupportedError{Feature: feature, Err: fmt.Errorf("missing %s: %w", capabilities.DACOverride, bare(err)), Advice: adviceOnRights(os.Geteuid())}
}

// bare is what the kernel said, without the advice around it.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path
	}
	return fs.ErrPermission
}

func adviceOnRights(uid int) string {
	if uid != 0 {
		return "run as root (sudo)"
	}
	return "run as root (sudo) with all capabilities, or give them to the container or service (docker run --cap-add, CapabilityBoundingSet=)"
}

// explainRights names what was missing when something was forbidden, of what
// the verb takes under the conditions that may have been met.
func explainRights(verb string, err error, when ...condition) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	have, readErr := capabilities.Effective()
	if readErr != nil {
		return err
	}
	wanted := needs(verb, when...)
	var hidden *sockets.HiddenError
	if errors.As(err, &hidden) {
		looks := capabilities.For(capabilities.Fetch, capabilities.Look)
		wanted = slices.DeleteFunc(wanted, func(c capabilities.Capability) bool { return !looks.Has(c) })
	}
	if missing := lacking(verb, have, wanted); missing != nil {
		return missing
	}
	return err
}
