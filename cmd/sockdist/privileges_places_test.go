package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
)

// others makes the runtime folder another user's, who planted links in it.
func (w *world) others(names ...string) (victim string) {
	w.t.Helper()
	victim = filepath.Join(w.t.TempDir(), "precious")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	for _, name := range names {
		path := filepath.Join(w.runtime, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Symlink(victim, path); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.Chown(w.runtime, nobody, nobody); err != nil {
		w.t.Fatal(err)
	}
	return victim
}

func (w *world) isUntouched(victim string) {
	w.t.Helper()
	info, err := os.Stat(victim)
	text, _ := os.ReadFile(victim)
	if err != nil || string(text) != "precious" || info.Mode() != 0o600 {
		w.t.Errorf("a link that another user planted was followed: %q, %v, %v", text, info, err)
	}
}

// An app serves, and writes nothing to a folder in which others plant links.
func TestRunInOthersRuntimeFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	victim := w.others(w.name+"/state.json", w.name+"/state.json.new", w.name+"/control", w.name+"/workers")
	a := w.startApp(actor{has: whole(t)})
	until(t, "the app serves", func() bool { return strings.Contains(read(a.log), "with 2 workers (pid") })
	if !w.answers() {
		t.Error("no worker answers")
	}
	if text := read(a.log); !strings.Contains(text, "belongs to user") || !strings.Contains(text, "won't reach this app") {
		t.Errorf("it says nothing of the folder:\n%s", text)
	}
	if o := a.end(true); o.code != 0 {
		t.Errorf("exit code %d, said\n%s", o.code, o.said)
	}
	w.isUntouched(victim)
}

func TestServeInOthersRuntimeFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	victim := w.others("serve.lock", "serve.json", "serve.json.new", "control")
	port := servers.FreePort(t, nil)
	s := setting{config: fmt.Sprintf("groups: {api: {listen: \"127.0.0.1:%d\"}}\n", port)}
	o := w.serve(actor{has: whole(t)}, s)
	if o.code != 1 || !strings.Contains(o.said, "belongs to user") {
		t.Errorf("exit code %d, said %s", o.code, o.said)
	}
	w.isUntouched(victim)
}

// The control socket isn't put where others can put something in its place.
func TestServeWithSocketInOthersFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder := filepath.Join(filepath.Dir(w.sockdist), "theirs-"+w.name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(folder, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	port := servers.FreePort(t, nil)
	s := setting{config: fmt.Sprintf("socket: {path: %q}\ngroups: {api: {listen: \"127.0.0.1:%d\"}}\n", filepath.Join(folder, "control"), port)}
	if o := w.serve(actor{has: whole(t)}, s); o.code != 1 || !strings.Contains(o.said, "belongs to user") {
		t.Errorf("exit code %d, said %s", o.code, o.said)
	}
}

// Who can write the configuration is who the daemon is.
func TestServeWithOpenConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	port := servers.FreePort(t, nil)
	s := setting{config: fmt.Sprintf("groups: {api: {listen: \"127.0.0.1:%d\"}}\n", port), groupPort: port}
	a := w.startServe(actor{has: whole(t)}, s)
	if !a.serving(s) {
		t.Fatalf("it doesn't serve:\n%s", read(a.log))
	}
	file := a.cmd.Args[len(a.cmd.Args)-1]
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if o := w.verb(actor{has: whole(t)}, "apply"); o.code == 0 || !strings.Contains(o.said, "others may change it") {
		t.Errorf("apply: exit code %d, said %s", o.code, o.said)
	}
	a.end(true)
	if o := w.finish(w.command(actor{has: whole(t)}, "serve", "--config", file)); o.code != 1 || !strings.Contains(o.said, "others may change it") {
		t.Errorf("serve: exit code %d, said %s", o.code, o.said)
	}
	w.endServe()
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	b := w.startCommand(w.command(actor{has: whole(t)}, "serve", "--config", file))
	until(t, "the owner is named", func() bool { return strings.Contains(read(b.log), "belongs to user nobody: others may change it") })
	b.end(true)
	w.endServe()
}

// Who reads workers' output, which may be anything, has no right at all.
func TestRelayHasNoRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.startApp(actor{has: whole(t)})
	if !a.serves() {
		t.Fatalf("it doesn't serve:\n%s", read(a.log))
	}
	relays := 0
	for _, pid := range w.processes() {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.Contains(string(line), "\x00output-relay\x00") {
			relays++
			threadsHave(t, pid, 0, true)
		}
	}
	if relays != 1 {
		t.Errorf("%d relays", relays)
	}
	if o := a.end(true); !o.fine {
		t.Errorf("exit code %d, said\n%s", o.code, o.said)
	}
}

// Where bpffs is open to all, another user may have made the pin folder before
// root: it isn't used.
func TestOthersPinFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pins := w.pins
	w.pins = ""
	defer func() { w.pins = pins }()
	w.server(nobody)
	for name, c := range map[string]struct {
		mode, maker string
		fine        bool
	}{
		"open, another's": {"1777", "65534", false},
		"open, root's":    {"1777", "0", true},
		"closed":          {"0700", "0", true},
	} {
		cmd := w.command(actor{has: whole(t)}, "attach", w.address())
		script := `while umount -t bpf -a && grep -q " - bpf " /proc/self/mountinfo; do :; done
mount -t bpf -o mode=$1 bpf /sys/fs/bpf && setpriv --reuid $2 --clear-groups mkdir /sys/fs/bpf/sockdist && shift 2 || exit 77
"$@"; code=$?
[ $code = 0 ] && "$1" detach --all >&2
exit $code`
		o := w.finish(w.dress(exec.Command(privilege.Tool(t, "unshare"), append([]string{
			"--mount", "--propagation", "private", "sh", "-c", script, "sh", c.mode, c.maker}, cmd.Args...)...)))
		if o.fine != c.fine || !c.fine && !strings.Contains(o.said, "was made by user 65534") {
			t.Errorf("%s: exit code %d, said %s", name, o.code, o.said)
		}
	}
}
