package attachment

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/kernels/guest"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*world)
		attach  string
		why     error
		says    []string
	}{
		{"nothing", func(*world) {}, ":80", ErrNobody, []string{"start the server first"}},
		{"another address", func(w *world) { w.serve(1) }, ":80", ErrNobody,
			[]string{"127.0.0.1:80 has a listener (exe, process", "sockdist attach 127.0.0.1:80"}},
		{"the wildcard", func(w *world) { serve(w.t, w.ns, "tcp4://0.0.0.0:80") }, "127.0.0.1:80", ErrNobody, []string{"sockdist attach 0.0.0.0:80"}},
		{"another namespace", func(w *world) { serve(w.t, netns.New(w.t), ":16180") }, ":16180", ErrNobody,
			[]string{"in another network namespace there is [::]:16180 (exe, process", "add --netns"}},
		{"alone", func(w *world) { serve(w.t, w.ns, w.listen, "-alone") }, "127.0.0.1:80", loader.ErrNotShared,
			[]string{"net.ListenConfig", "sockdist run"}},
		{"alone in one family", func(w *world) { serve(w.t, w.ns, "tcp4://0.0.0.0:80"); serve(w.t, w.ns, "tcp6://[::]:80", "-alone") }, ":80",
			loader.ErrNotShared, []string{"sockdist attach tcp4://:80"}},
		{"shared too late", func(w *world) { serve(w.t, w.ns, w.listen, "-late") }, "127.0.0.1:80", loader.ErrNotShared,
			[]string{"before bind, but set it later"}},
		{"MPTCP", func(w *world) { serve(w.t, w.ns, w.listen, "-mptcp") }, "127.0.0.1:80", loader.ErrMPTCP,
			[]string{"GODEBUG=multipathtcp=0", "SetMultipathTCP(false)"}},
		{"users", func(w *world) { serve(w.t, w.ns, w.listen, "-listeners", "2", "-give-away", "65534") }, "127.0.0.1:80", ErrUsers,
			[]string{"root", "start all workers as the same user"}},
		{"devices", func(w *world) { serve(w.t, w.ns, w.listen); serve(w.t, w.ns, w.listen, "-device", "lo") }, "127.0.0.1:80", ErrAmbiguous,
			[]string{"SO_BINDTODEVICE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.prepare(w)
			w.listen = c.attach
			_, err := Attach(t.Context(), w.host, w.options())
			wantRefusal(t, err, c.why, c.says...)
			if steered := w.steerers(); len(steered) > 0 {
				t.Errorf("steered nevertheless: %v", steered)
			}
		})
	}
}

func wantRefusal(t *testing.T, err, why error, says ...string) {
	t.Helper()
	if !errors.Is(err, why) {
		t.Fatalf("got %v, want it to be: %v", err, why)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than a line: %v", err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%v\ndoes not say %q", err, s)
		}
	}
}

func TestRefusesNginxWithoutReuseport(t *testing.T) {
	w := newWorld(t)
	w.listen = ":80"
	w.startNginx(2, servers.PortMark)
	_, err := Attach(t.Context(), w.host, w.options())
	wantRefusal(t, err, loader.ErrNotShared, "nginx", "nginx.conf")
	if strings.Contains(err.Error(), "HAProxy") {
		t.Errorf("advice for others, too: %v", err)
	}
}

func TestRefusesNodeAlone(t *testing.T) {
	if os.Getenv(guest.Variable) != "" {
		t.Skip("no node in a guest")
	}
	w := newWorld(t)
	w.listen = ":80"
	servers.Options{Port: 80, In: w.ns}.Start(t, servers.Node)
	_, err := Attach(t.Context(), w.host, w.options())
	wantRefusal(t, err, loader.ErrNotShared, "(node, process", "server.listen({port, reusePort: true})", "sockdist run")
}

func TestRefusesWhatIsSteered(t *testing.T) {
	w := newWorld(t)
	w.serve(2)
	stranger := *w
	stranger.host = newHost(t)
	stranger.attach()

	_, err := Attach(t.Context(), w.host, w.options())
	wantRefusal(t, err, loader.ErrSteered, "bpftool prog show id", "restart the server")
	if names, err := w.host.Groups(); err != nil || len(names) > 0 {
		t.Errorf("groups left: %v, %v", names, err)
	}
}

// The sockets are in another's array, which is attached to nothing.
func TestRefusesForeignArray(t *testing.T) {
	w := newWorld(t)
	w.serve(1)
	stranger := newHost(t)
	g, err := stranger.CreateGroup(loader.GroupSpec{Name: "stranger", Address: w.server})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	err = w.ns.Do(func() error {
		found, err := w.options().scan()
		if err != nil {
			return err
		}
		return found[0].listeners[0].with(func(fd int) error {
			_, err := g.Add(-1, loader.Listener{FD: fd})
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Attach(t.Context(), w.host, w.options())
	wantRefusal(t, err, loader.ErrSteered, "in a socket array")
	if err := g.Destroy(); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	w.serve(1)
	o := w.options()
	o.Name = "web"
	if g := w.attachAs(o); g.Spec.Name != "web" {
		t.Errorf("named %s", g.Spec.Name)
	}
	if g := w.attach(); g.Spec.Name != "web" || g.New {
		t.Errorf("without a name: %+v", g.Spec)
	}
	o.Name = "net"
	_, err := Attach(t.Context(), w.host, o)
	wantRefusal(t, err, ErrName, "127.0.0.1:80 is steered as web already", "leave --name out")

	serve(t, w.ns, "127.0.0.1:81")
	o = w.options()
	o.Name, o.Address.Port = "web", 81
	_, err = Attach(t.Context(), w.host, o)
	wantRefusal(t, err, ErrName, "127.0.0.1:80 has it", "choose another with --name")

	elsewhere := *w
	elsewhere.ns, elsewhere.client = netns.New(t), clients.Client{}
	elsewhere.serve(1)
	o = elsewhere.options()
	o.Name = "web"
	_, err = Attach(t.Context(), w.host, o)
	wantRefusal(t, err, ErrName, "127.0.0.1:80 in another network namespace has it")

	for _, bad := range []string{"a b", "a.b", "a/b", strings.Repeat("x", 64)} {
		o.Name = bad
		if _, err := Attach(t.Context(), w.host, o); err == nil {
			t.Errorf("named %q", bad)
		}
	}
}

// The IPv6 wildcard came first and has the short name.
func TestNameOfTheSecondFamily(t *testing.T) {
	w := newWorld(t)
	w.listen = ":80"
	serve(t, w.ns, "tcp6://[::]:80")
	if g := w.attach(); g.Spec.Name != "80" {
		t.Errorf("named %s", g.Spec.Name)
	}
	serve(t, w.ns, "tcp4://0.0.0.0:80")
	groups, err := Attach(t.Context(), w.host, w.options())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		w.detachInTheEnd(g)
	}
	if len(groups) != 2 || groups[0].Spec.Name != "80-v4" || groups[1].Spec.Name != "80" {
		t.Errorf("attached %+v, want 80-v4 beside 80", groups)
	}
}

func TestDefaultName(t *testing.T) {
	for address, want := range map[string]string{
		"0.0.0.0:443": "443", "[::]:443": "443", "127.0.0.1:443": "127-0-0-1-443", "[::ffff:127.0.0.1]:443": "127-0-0-1-443",
		"[2001:db8::1]:443": "v6-2001:db8::1-443", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535": "v6-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff-65535",
	} {
		got := DefaultName(netip.MustParseAddrPort(address))
		if got != want {
			t.Errorf("%s is %s, want %s", address, got, want)
		}
		if err := loader.CheckName(got + "-v6only"); err != nil {
			t.Error(err)
		}
	}
}

func TestNamespaces(t *testing.T) {
	w := newWorld(t)
	children := w.serve(2)
	for _, netns := range []string{w.ns.Path(), strconv.Itoa(children[0].pid()), fmt.Sprintf("/proc/%d/ns/net", children[1].pid())} {
		groups, err := Attach(t.Context(), w.host, Options{Address: parse(t, w.listen), NetNS: netns})
		if err != nil {
			t.Fatal(err)
		}
		w.detachInTheEnd(groups[0])
	}
	if err := w.ns.Do(func() error {
		_, err := Attach(t.Context(), w.host, Options{Address: parse(t, w.listen)})
		return err
	}); err != nil {
		t.Error(err)
	}

	o := Options{Address: parse(t, w.listen), PIDs: []int{children[0].pid(), os.Getpid()}}
	if _, err := Attach(t.Context(), w.host, o); err == nil || !strings.Contains(err.Error(), "another network namespace") {
		t.Errorf("of processes in two namespaces: %v", err)
	}
	o.PIDs = []int{children[0].pid()}
	children[0].end()
	if _, err := Attach(t.Context(), w.host, o); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("of a process that is gone: %v", err)
	}
	o = Options{Address: parse(t, w.listen), NetNS: "no-such-namespace"}
	if _, err := Attach(t.Context(), w.host, o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a namespace that isn't there: %v", err)
	}
	o = w.options()
	o.PIDs = []int{serve(t, w.ns, "127.0.0.1:81").pid()}
	_, err := Attach(t.Context(), w.host, o)
	wantRefusal(t, err, ErrNobody, "with a socket of process", "exe, process")
	if _, err := Attach(t.Context(), w.host, Options{}); !errors.Is(err, sockets.ErrAddress) {
		t.Errorf("without a port: %v", err)
	}
}
