package attachment

import (
	"log/slog"
	"testing"
	"time"

	"github.com/sockdist/sockdist/loader"
)

// Where nothing is to be done nothing is attempted, and whatever differs is seen.
func TestSettled(t *testing.T) {
	w := newWorld(t)
	children := w.serve(3)
	groups, err := Attach(t.Context(), w.host, w.options())
	if err != nil {
		t.Fatal(err)
	}
	w.detachInTheEnd(groups[0])
	watcher, err := newWatcher(w.host, w.options(), groups, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.servers.forget()
	settled := func(what string, want bool) {
		t.Helper()
		if got := watcher.isSettled(time.Now()); got != want {
			t.Errorf("%s: settled %v", what, got)
		}
	}
	again := func() {
		t.Helper()
		watcher.look(t.Context())
		settled("looked", true)
	}
	settled("attached", true)
	w.hold(6)
	settled("with connections", true)

	more := serve(t, w.ns, w.listen)
	settled("one more listens", false)
	again()
	more.kill()
	settled("one has ended", false)
	watcher.lost = map[lostSlot]time.Time{{groups[0].Spec.Name, 3, w.snapshot(groups[0].Spec.Name).Slots[3].Generation}: {}}
	again() // its slot waited for long enough

	found, err := w.options().scanIn(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.ns.Do(func() error { return found[0].listeners[0].with(loader.Unsteer) }); err != nil {
		t.Fatal(err)
	}
	settled("the program was taken off", false)
	again()
	if watcher.servers.died() {
		t.Error("a server has died, it is said")
	}
	children[1].kill()
	w.until("its death is seen", func() (bool, string) { return watcher.servers.died(), "" })
	if watcher.servers.died() {
		t.Error("its death is seen twice")
	}
}

// scanIn is scan in the namespace of the world.
func (o Options) scanIn(w *world) (found []kernelGroup, err error) {
	err = w.ns.Do(func() error { found, err = o.scan(); return err })
	return found, err
}
