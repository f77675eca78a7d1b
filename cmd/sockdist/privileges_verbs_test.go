package main_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/capabilities"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/privilege"

	sockdist "github.com/sockdist/sockdist/cmd/sockdist"
)

// A deed is a verb in a situation. It works with exactly the capabilities that
// the table names; without any one of them it is refused, by name and before
// anything is done; and without sockdist's own check the kernel refuses it.
type deed struct {
	name string
	verb string
	when []sockdist.Condition
	uid  int
	// spare are capabilities that are needed later, if at all.
	spare capabilities.Set
	// before makes the situation, by root; undo makes it again after a deed
	// that was done, or half done.
	before func(w *world)
	do     func(w *world, by actor) outcome
	undo   func(w *world)
}

func line(format string, args ...func(*world) string) func(*world, actor) outcome {
	return func(w *world, by actor) outcome {
		var words []any
		for _, arg := range args {
			words = append(words, arg(w))
		}
		return w.verb(by, strings.Fields(fmt.Sprintf(format, words...))...)
	}
}

var (
	address = (*world).address
	group   = (*world).group
	own     = func(w *world) string { return w.name }
)

func steered(uid int) func(*world) {
	return func(w *world) {
		w.server(uid)
		w.root("attach", w.address())
	}
}

func detach(w *world) { _ = w.dress(exec.Command(w.plain[0], "detach", w.address())).Run() }

func reattach(w *world) { w.root("attach", w.address()) }

func running(flags ...string) func(*world) {
	return func(w *world) {
		a := w.startApp(actor{has: capabilities.All()}, flags...)
		if !a.serves() {
			w.t.Fatalf("it doesn't serve:\n%s", read(a.log))
		}
	}
}

// killed is an app whose supervisor was killed.
func killed(flags ...string) func(*world) {
	return func(w *world) {
		a := w.startApp(actor{has: capabilities.All()}, flags...)
		if !a.serves() {
			w.t.Fatalf("it doesn't serve:\n%s", read(a.log))
		}
		_ = a.cmd.Process.Kill()
		<-a.ended
	}
}

func endApp(w *world) { w.killAll() }

func both(fs ...func(*world)) func(*world) {
	return func(w *world) {
		for _, f := range fs {
			f(w)
		}
	}
}

func away(w *world) { w.in = netns.New(w.t) }

var deeds = []deed{
	{name: "run", verb: "run", do: func(w *world, by actor) outcome { return w.app(by) }, undo: endApp},
	{name: "run --pin", verb: "run", do: func(w *world, by actor) outcome { return w.app(by, "--pin") }, undo: endApp},
	{name: "run --user", verb: "run", when: []sockdist.Condition{sockdist.WithUser},
		do: func(w *world, by actor) outcome { return w.app(by, "--user", "nobody:nogroup") }, undo: endApp},
	{name: "run in a closed folder", verb: "run", when: []sockdist.Condition{sockdist.Closed},
		before: func(w *world) { w.give(nobody) },
		do:     func(w *world, by actor) outcome { return w.app(by) }, undo: both(endApp, func(w *world) { w.give(nobody) })},
	{name: "run as another user than root", verb: "run", when: []sockdist.Condition{sockdist.Closed}, uid: nobody,
		do: func(w *world, by actor) outcome { return w.app(by) }, undo: endApp},
	{name: "run --take-over", verb: "run", before: running(),
		do: func(w *world, by actor) outcome { return w.app(by, "--take-over") }, undo: both(endApp, running())},

	{name: "attach", verb: "attach", when: []sockdist.Condition{sockdist.OfOthers},
		before: func(w *world) { w.server(nobody) }, do: line("attach %s", address), undo: detach},
	{name: "attach again", verb: "attach", when: []sockdist.Condition{sockdist.OfOthers},
		before: steered(nobody), do: line("attach %s", address), undo: reattach},
	{name: "attach elsewhere", verb: "attach", when: []sockdist.Condition{sockdist.OfOthers, sockdist.Elsewhere},
		before: both(away, func(w *world) { w.server(nobody) }),
		do:     func(w *world, by actor) outcome { return w.verb(by, "attach", "--netns", w.in.Path(), w.address()) }, undo: detach},
	{name: "attach in a closed folder", verb: "attach", when: []sockdist.Condition{sockdist.OfOthers, sockdist.Closed},
		before: func(w *world) { w.server(nobody); w.give(nobody) },
		do:     line("attach %s", address), undo: both(detach, func(w *world) { w.give(nobody) })},
	{name: "attach as another user than root", verb: "attach", when: []sockdist.Condition{sockdist.OfOthers, sockdist.Closed}, uid: nobody - 1,
		before: func(w *world) { w.server(nobody) }, do: line("attach %s", address), undo: detach},
	{name: "attach that mounts bpffs", verb: "attach", when: []sockdist.Condition{sockdist.OfOthers, sockdist.Unmounted},
		before: func(w *world) { w.server(nobody) }, do: attachUnmounted},

	{name: "detach", verb: "detach", when: []sockdist.Condition{sockdist.OfOthers},
		before: steered(nobody), do: line("detach %s", address), undo: reattach},
	{name: "detach elsewhere", verb: "detach", when: []sockdist.Condition{sockdist.OfOthers, sockdist.Elsewhere},
		before: func(w *world) { away(w); w.server(nobody); w.root("attach", "--netns", w.in.Path(), w.address()) },
		do:     func(w *world, by actor) outcome { return w.verb(by, "detach", "--netns", w.in.Path(), w.address()) },
		undo:   func(w *world) { w.root("attach", "--netns", w.in.Path(), w.address()) }},

	{name: "demo", verb: "demo", do: line("demo --duration 1s")},

	{name: "status", verb: "status", before: steered(0), do: line("status")},
	{name: "status of another user's", verb: "status", when: []sockdist.Condition{sockdist.Closed},
		before: both(steered(0), func(w *world) { w.give(nobody) }), do: line("status")},
	{name: "policy", verb: "policy", before: steered(nobody), do: line("policy %s rr", group)},
	{name: "drain", verb: "drain", before: steered(nobody), do: line("drain %s/0", group)},
	{name: "drain of another user's", verb: "drain", when: []sockdist.Condition{sockdist.Closed},
		before: both(steered(nobody), func(w *world) { w.give(nobody) }), do: line("drain %s/0", group)},
	{name: "undrain", verb: "undrain", before: steered(nobody), do: line("undrain %s/0", group)},
	{name: "weight", verb: "weight", before: steered(nobody), do: line("weight %s/0 7", group)},
	{name: "maxconn", verb: "maxconn", before: steered(nobody), do: line("maxconn %s/0 7", group)},
	{name: "probe", verb: "probe", before: steered(nobody), do: line("probe %s/1", group)},
	{name: "reload", verb: "reload", before: running(), do: line("reload %s", own), undo: endApp},
	{name: "scale", verb: "scale", before: running(), do: line("scale %s 3", own), undo: endApp},
	{name: "stop", verb: "stop", before: running(), do: line("stop %s", own)},
	{name: "stop of a killed one", verb: "stop", before: killed(), do: line("stop %s", own)},
	{name: "stop of a killed one with --user", verb: "stop", when: []sockdist.Condition{sockdist.Abandoned},
		before: killed("--user", "nobody:nogroup"),
		do: func(w *world, by actor) outcome {
			o := w.verb(by, "stop", w.name)
			o.fine = o.fine && !strings.Contains(o.said, "send SIGTERM")
			return o
		}, undo: both(endApp, killed("--user", "nobody:nogroup"))},
	{name: "version", verb: "version", uid: nobody, do: line("version")},
	{name: "completion", verb: "completion", uid: nobody, do: line("completion bash")},
	{name: "help", verb: "help", uid: nobody, do: line("help run")},
	{name: "man", verb: "man", do: func(w *world, by actor) outcome { return w.verb(by, "man", w.t.TempDir()) }},
}

// attachUnmounted is in a mount namespace without bpffs, and with the machine's pin folder.
func attachUnmounted(w *world, by actor) outcome {
	pins := w.pins
	w.pins = ""
	defer func() { w.pins = pins }()
	cmd := w.command(by, "attach", w.address())
	script := `while umount -t bpf -a && grep -q " - bpf " /proc/self/mountinfo; do :; done; exec "$@"`
	return w.finish(w.dress(exec.Command(privilege.Tool(w.t, "unshare"),
		append([]string{"--mount", "--propagation", "private", "sh", "-c", script, "sh"}, cmd.Args...)...)))
}

func TestEachVerbNeedsWhatIsDocumented(t *testing.T) {
	for _, d := range deeds {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if d.before != nil {
				d.before(w)
			}
			d.test(w)
			w.killAll()
		})
	}
}

func (d deed) test(w *world) {
	t := w.t
	needed := sockdist.Needs(d.verb, d.when...)
	all := capabilities.Of(needed...)
	for _, c := range needed {
		before := w.left()
		less := all &^ capabilities.Of(c)
		if less.Allows(c) {
			continue // there is a wider one for something else
		}
		if o := d.do(w, actor{uid: d.uid, has: less}); !refuses(o, c) {
			t.Errorf("without %v: exit code %d, said\n%s", c, o.code, o.said)
		}
		if left := w.left(); !slices.Equal(left, before) {
			t.Errorf("without %v: there is %v, and was %v before", c, left, before)
		}
		if o := d.do(w, actor{uid: d.uid, has: less, unchecked: true}); o.fine && !d.spare.Has(c) {
			t.Errorf("%v isn't needed at all: it works without, and said\n%s", c, o.said)
		}
		if d.undo != nil {
			d.undo(w)
		}
	}
	if o := d.do(w, actor{uid: d.uid, has: all}); !o.fine {
		t.Errorf("with %v: exit code %d, said\n%s", all, o.code, o.said)
	}
}

// refuses tells whether it failed as it should: with one line that names this
// capability and no other.
func refuses(o outcome, c capabilities.Capability) bool {
	words := strings.FieldsFunc(o.said, func(r rune) bool { return strings.ContainsRune(" ,;:\n", r) })
	var named []string
	for _, word := range words {
		if strings.HasPrefix(word, "CAP_") {
			named = append(named, word)
		}
	}
	return o.code == 3 && strings.Count(o.said, "\n") == 1 && slices.Equal(named, []string{c.String()})
}
