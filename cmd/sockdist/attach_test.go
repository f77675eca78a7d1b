package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/kernels/guest"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/loader"
)

// attachAll attaches, expects it to work, and detaches in the end.
func attachAll(t *testing.T, dir string, args ...string) answer {
	t.Helper()
	a := sockdist(t, dir, append([]string{"attach"}, args...)...)
	if a.code != exitDone || a.err != "" {
		t.Fatalf("attach %q: %d, %s", args, a.code, a.err)
	}
	t.Cleanup(func() {
		if a := sockdistAfter(dir, "detach", "--all"); a.code != exitDone {
			t.Errorf("detach: %s", a.err)
		}
	})
	return a
}

// sockdistAfter runs a command line when the test's context has ended.
func sockdistAfter(dir string, args ...string) answer {
	var out, errs strings.Builder
	env := environment{out: &out, err: &errs, getenv: func(string) string { return "" }}
	code := execute(withoutEnd, env, append([]string{"--dir", dir}, args...))
	return answer{out.String(), errs.String(), code}
}

func TestAttachNginx(t *testing.T) {
	if os.Getenv(guest.Variable) != "" {
		t.Skip("no nginx in a guest")
	}
	const workers = 4
	dir := newDir(t)
	nginx := servers.StartNginx(t, workers)
	address := fmt.Sprintf(":%d", nginx.Port())
	held := clients.Hold(t, nginx.Address, 20)

	a := attachAll(t, dir, address)
	lines := strings.Split(strings.TrimSpace(a.out), "\n")
	if want := fmt.Sprintf("%d  tcp4://0.0.0.0%s  policy least  steered now", nginx.Port(), address); lines[0] != want || len(lines) != 2+workers {
		t.Errorf("got\n%s\nwant a first line of %q, and %d slots", a.out, want, workers)
	}
	pids := nginx.Workers()
	slices.Sort(pids)
	for i, pid := range pids {
		want := fmt.Sprintf("%d %d nginx %d %d nginx, %d more", i, pid, held.PIDs()[pid], nginx.PID, workers-1)
		if got := strings.Join(strings.Fields(lines[2+i]), " "); got != want {
			t.Errorf("line of slot %d: %q, want %q", i, got, want)
		}
	}
	for pid, n := range append(held, clients.Hold(t, nginx.Address, 380)...).PIDs() {
		if n != 100 {
			t.Errorf("process %d has %d connections, want 100", pid, n)
		}
	}

	a = attachAll(t, dir, address, "--policy", "p2c")
	if want := "policy p2c  brought up to date\n  policy is p2c now\n"; !strings.Contains(a.out, want) {
		t.Errorf("got\n%s\nwant %q", a.out, want)
	}
	if a = attachAll(t, dir, address); !strings.Contains(a.out, "policy p2c  up to date already\n") {
		t.Errorf("got\n%s", a.out)
	}
}

func TestAttachJSON(t *testing.T) {
	dir := newDir(t)
	listeners := listenShared(t, "tcp4", "127.0.0.1:0", 2)
	dial(t, listeners[0])
	a := attachAll(t, dir, listeners[0].Addr().String(), "--json", "--name", "web", "--policy", "rr")
	var got attached
	if err := json.Unmarshal([]byte(a.out), &got); err != nil || len(got.Groups) != 1 {
		t.Fatalf("%v in %s", err, a.out)
	}
	g := got.Groups[0]
	if g.Name != "web" || g.Protocol != "tcp4" || g.Address != listeners[0].Addr().String() || g.Policy != "rr" || !g.New || len(g.Slots) != 2 {
		t.Errorf("group %+v", g)
	}
	sum := uint64(0)
	for i, s := range g.Slots {
		sum += s.Connections
		if s.Slot != i || s.PID != os.Getpid() || s.State != "live" || s.Weight != 100 || len(s.Holders) != 1 || s.Servers != 1 {
			t.Errorf("slot %d: %+v", i, s)
		}
	}
	if sum != 1 {
		t.Errorf("%d connections, want one", sum)
	}
	for _, field := range []string{`"changes":[{"change":"slot taken","slot":0,`, `{"change":"steering","slot":null,`, `"left_out":0`, `"unowned":0`} {
		if !strings.Contains(a.out, field) {
			t.Errorf("no %s in %s", field, a.out)
		}
	}
}

func TestAttachWarnings(t *testing.T) {
	dir := newDir(t)
	l := listenShared(t, "tcp4", "127.0.0.1:0", 1)[0]
	if a := attachAll(t, dir, l.Addr().String()); !strings.Contains(a.out, "! one socket only") {
		t.Errorf("got\n%s", a.out)
	}
}

func TestDetach(t *testing.T) {
	dir := newDir(t)
	ns := netns.New(t)
	var listeners []*net.TCPListener
	if err := ns.Do(func() error {
		listeners = slices.Concat(listenShared(t, "tcp4", "0.0.0.0:80", 2), listenShared(t, "tcp6", "[::]:80", 2),
			listenShared(t, "tcp4", "127.0.0.1:81", 2))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	attachAll(t, dir, ":80", "--netns", ns.Path())
	attachAll(t, dir, "127.0.0.1:81", "--netns", ns.Path(), "--name", "web")

	// The namespace is found by a process in it, of which there is none.
	if a := sockdist(t, dir, "detach", "web"); a.code != exitFailed || !strings.Contains(a.err, "name it by --netns") {
		t.Errorf("detach web: %+v", a)
	}
	sleepIn(t, ns)
	a := sockdist(t, dir, "detach", "80")
	if want := "80  tcp4://0.0.0.0:80  given back to the kernel's hash\n80-v6  of the same port is steered still: sockdist detach 80-v6\n"; a.out != want || a.code != exitDone {
		t.Errorf("detach 80: %+v, want %q", a, want)
	}
	attachAll(t, dir, ":80", "--netns", ns.Path())
	a = sockdist(t, dir, "detach", ":80")
	if want := "80  tcp4://0.0.0.0:80  given back to the kernel's hash\n80-v6  tcp6://[::]:80  given back to the kernel's hash\n"; a.out != want || a.code != exitDone {
		t.Errorf("detach :80: %+v, want %q", a, want)
	}
	a = sockdist(t, dir, "detach", ":80")
	if a.code != exitFailed || !strings.Contains(a.err, "no group or app of this name or address") {
		t.Errorf("detached twice: %+v", a)
	}
	a = sockdist(t, dir, "detach", "--all")
	if want := "web  tcp4://127.0.0.1:81  given back to the kernel's hash\n"; a.out != want || a.code != exitDone {
		t.Errorf("detach --all: %+v, want %q", a, want)
	}
	if a = sockdist(t, dir, "detach", "--all"); a.out != "" || a.code != exitDone {
		t.Errorf("detach --all of nothing: %+v", a)
	}
	if err := ns.Do(func() error {
		steerers, err := loader.Steerers()
		if len(steerers) > 0 {
			t.Errorf("steered still: %v", steerers)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	for _, l := range listeners {
		l.Close()
	}
}

// An address in two namespaces is of two servers.
func TestDetachAmbiguous(t *testing.T) {
	dir := newDir(t)
	for _, name := range []string{"a", "b"} {
		ns := netns.New(t)
		if err := ns.Do(func() error { listenShared(t, "tcp4", "127.0.0.1:80", 1); return nil }); err != nil {
			t.Fatal(err)
		}
		sleepIn(t, ns)
		attachAll(t, dir, "127.0.0.1:80", "--netns", ns.Path(), "--name", name)
	}
	if a := sockdist(t, dir, "detach", "127.0.0.1:80"); a.code != exitFailed || !strings.Contains(a.err, "detach by name, a or b") {
		t.Errorf("got %+v", a)
	}
}

func TestAttachCommandLines(t *testing.T) {
	dir := newDir(t)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"attach"}, exitUsage, "accepts 1 arg"},
		{[]string{"attach", "80"}, exitUsage, "write :80"},
		{[]string{"attach", "localhost:80"}, exitUsage, "names are not looked up"},
		{[]string{"attach", ":80", "--policy", "best"}, exitUsage, "use one of least"},
		{[]string{"attach", ":80", "--name", "a.b"}, exitUsage, "is not allowed"},
		{[]string{"attach", ":80", "--pid", "x"}, exitUsage, "--pid"},
		{[]string{"attach", "127.0.0.254:1"}, exitFailed, "nothing listens there"},
		{[]string{"attach", ":80", "--netns", "no-such"}, exitFailed, "no-such"},
		{[]string{"detach"}, exitUsage, "accepts 1 arg"},
		{[]string{"detach", "--all", "web"}, exitUsage, "--all takes no name"},
		{[]string{"detach", "web"}, exitFailed, "no group or app"},
	} {
		a := sockdist(t, dir, c.args...)
		if a.code != c.code || !strings.Contains(a.err, c.says) || strings.Count(a.err, "\n") != 1 {
			t.Errorf("%q: %+v, want code %d and one line with %q", c.args, a, c.code, c.says)
		}
	}
}

func TestAttachAsNobody(t *testing.T) {
	dir := newDir(t)
	l := listenShared(t, "tcp4", "127.0.0.1:0", 1)[0]
	for _, args := range [][]string{{"attach", l.Addr().String()}, {"detach", "web"}} {
		a := asNobody(t, dir, args...)
		if a.code != exitUnsupported || strings.Count(a.err, "\n") != 1 || !strings.Contains(a.err, "run as root") {
			t.Errorf("%q as nobody: %+v", args, a)
		}
	}
}

// On a machine where nobody mounted bpffs yet, attach does, and what only looks does not.
func TestAttachMounts(t *testing.T) {
	unshare := privilege.Tool(t, "unshare")
	privilege.Require(t)
	listeners := listenShared(t, "tcp4", "127.0.0.1:0", 2)
	address := listeners[0].Addr().String()
	script := `umount -a -t bpf
		mounts() { grep -c " - bpf " /proc/self/mountinfo; }
		"$0" attach 127.0.0.254:1; mounts
		"$0" detach "$1"; mounts
		"$0" attach "$1" >/dev/null && mounts && "$0" status --json && "$0" detach "$1"
		ls /sys/fs/bpf/sockdist`
	cmd := exec.Command(unshare, "--mount", "sh", "-c", script, "/proc/"+fmt.Sprint(os.Getpid())+"/exe", address)
	cmd.Env = []string{asSockdist + "=1", "PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}
	said, _ := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	for i, want := range []string{"nothing listens there", "0", "no group or app", "0", "1", `"steering":true`, "given back", "No such file"} {
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Fatalf("line %d should have %q:\n%s", i, want, said)
		}
	}
}

func TestAttachCompletion(t *testing.T) {
	dir := newDir(t)
	l := listenShared(t, "tcp4", "127.0.0.1:0", 2)[0]
	wildcard := listenShared(t, "tcp6", "[::]:0", 1)[0].Addr().(*net.TCPAddr).AddrPort()
	offered := sockdist(t, dir, "__complete", "attach", "").out
	for _, want := range []string{l.Addr().String(), fmt.Sprintf(":%d", wildcard.Port())} {
		if !slices.Contains(strings.Split(offered, "\n"), want) {
			t.Errorf("%s is not among\n%s", want, offered)
		}
	}
	attachAll(t, dir, l.Addr().String(), "--name", "web")
	newGroup(t, dir, loader.GroupSpec{Name: "app-80", App: "app", Address: netip.MustParseAddrPort("127.0.0.1:80")})
	if offered := sockdist(t, dir, "__complete", "detach", "").out; !strings.HasPrefix(offered, "web\n:") {
		t.Errorf("detach offers\n%s", offered)
	}
}
