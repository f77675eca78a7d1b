package attachment

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/loader"
)

func TestDetach(t *testing.T) {
	w := newWorld(t)
	children := w.serve(3)
	g := w.attach()
	held := w.hold(30)
	if !w.isEven(children) {
		t.Error("connections are not spread as if they were steered")
	}

	w.detach(g.Spec.Name)
	if steered := w.steerers(); len(steered) > 0 {
		t.Errorf("steered still: %v", steered)
	}
	if names, err := w.host.Groups(); err != nil || len(names) > 0 {
		t.Errorf("groups left: %v, %v", names, err)
	}
	if lost := held.Ask().Lost(); len(lost) > 0 {
		t.Errorf("lost: %v", lost)
	}
	if w.isEven(children) {
		t.Error("connections are spread as if they were steered")
	}
	if err := Detach(t.Context(), w.host, g.Spec.Name, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("detached twice: %v", err)
	}
}

// isEven tells whether one round of connections after the other goes to all children
// alike. The kernel's hash does that too, but for six rounds only once in 40 million times.
func (w *world) isEven(children []*child) bool {
	w.t.Helper()
	const each = 5
	for range 6 {
		if !maps.Equal(w.hold(each*len(children)).PIDs(), evenly(pidsOf(children), each)) {
			return false
		}
	}
	return true
}

// With another group in the folder, the accounting stays, and what it noted of
// connections. That must not keep them from being counted in a new group.
func TestDetachAndAttach(t *testing.T) {
	w := newWorld(t)
	serveMany(t, w.ns, "127.0.0.1:81", 2)
	other := w.options()
	other.Address.Port = 81
	w.attachAs(other)

	children := w.serve(3)
	old := w.hold(20)
	for range 3 {
		g := w.attach()
		held := append(old, w.hold(10)...)
		w.wantCounts(g.Spec.Name, filled(held.PIDs(), children))
		w.detach(g.Spec.Name)
		w.hold(10).Close() // through listeners without a mark
		held[20:].Close()
	}
}

func TestDetachWhenAllAreGone(t *testing.T) {
	w := newWorld(t)
	children := w.serve(2)
	g := w.attach()
	for _, c := range children {
		c.kill()
	}
	w.detach(g.Spec.Name)
}

func TestDetachWhenTheNamespaceIsGone(t *testing.T) {
	host := newHost(t)
	t.Run("inner", func(t *testing.T) {
		ns := netns.New(t)
		serve(t, ns, "127.0.0.1:80")
		if _, err := Attach(t.Context(), host, Options{Address: parse(t, "127.0.0.1:80"), NetNS: ns.Path()}); err != nil {
			t.Fatal(err)
		}
	})
	if err := Detach(t.Context(), host, "127-0-0-1-80", ""); err != nil {
		t.Error(err)
	}
}

func TestDetachOfAnApp(t *testing.T) {
	w := newWorld(t)
	w.serve(1)
	app, err := w.host.CreateApp(loader.AppSpec{Name: "shop", Cgroup: newCgroup(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	g, err := w.host.CreateGroup(loader.GroupSpec{Name: "shop-80", App: "shop", NetNS: w.ns.Inode(),
		Address: w.server})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()

	for _, supervisor := range []int{0, os.Getpid()} {
		if err := app.SetSupervisor(supervisor); err != nil {
			t.Fatal(err)
		}
		if err := Detach(t.Context(), w.host, "shop-80", ""); !errors.Is(err, ErrApp) || !strings.Contains(err.Error(), "sockdist stop shop") {
			t.Errorf("with the supervisor %d: %v", supervisor, err)
		}
	}
	if _, err := Attach(t.Context(), w.host, w.options()); !errors.Is(err, ErrApp) {
		t.Errorf("attached an app's group: %v", err)
	}

	gone := serve(t, nil, "127.0.0.1:0")
	gone.end()
	if err := app.SetSupervisor(gone.pid()); err != nil {
		t.Fatal(err)
	}
	if err := Detach(t.Context(), w.host, "shop-80", w.ns.Path()); err != nil {
		t.Errorf("with a supervisor that is gone: %v", err)
	}
	if apps, err := w.host.Apps(); err != nil || len(apps) > 0 {
		t.Errorf("apps left: %v, %v", apps, err)
	}
}
