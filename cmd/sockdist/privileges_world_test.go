package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/capabilities"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
)

// nobody is a user without any right.
const nobody = 65534

// plainPrograms are sockdist as make builds it, without cgo, and the same
// without its own checks: then the kernel says what it refuses.
var plainPrograms = sync.OnceValues(func() (plain [2]string, err error) {
	p, err := findPrograms()
	if err != nil {
		return plain, err
	}
	for i, flags := range []string{"", "-X main.unchecked=yes"} {
		plain[i] = filepath.Join(filepath.Dir(p.sockdist), fmt.Sprint("plain-", i))
		cmd := exec.Command("go", "build", "-o", plain[i], "-ldflags", flags, ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return plain, fmt.Errorf("build sockdist without cgo: %w\n%s", err, out)
		}
	}
	return plain, nil
})

// An actor is who runs sockdist: a user with exactly these capabilities.
type actor struct {
	uid       int
	has       capabilities.Set
	unchecked bool // nothing but the kernel refuses
}

// A world is what verbs work on, with pins, a runtime folder and processes of its own.
type world struct {
	t       *testing.T
	name    string // of the app, and in the environment of all processes
	pins    string
	runtime string
	port    int
	in      *netns.Namespace // where servers live; nil: here
	programs
	plain [2]string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, programs: needPrograms(t)}
	plain, err := plainPrograms()
	if err != nil {
		t.Fatal(err)
	}
	w.plain = plain
	n := appNumber.Add(1)
	w.name = fmt.Sprintf("%s-%d", prefix, n)
	w.pins = filepath.Join(w.bpffs, w.name)
	w.runtime = filepath.Join(filepath.Dir(w.sockdist), fmt.Sprint("runtime-", n))
	w.port = servers.FreePort(t, nil)
	t.Cleanup(func() {
		w.killAll()
		if left := w.left(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		_ = os.RemoveAll(w.pins)
	})
	// The folder of all apps is there, so that nobody has to make it where the
	// root of cgroup v2 is closed.
	keeper := filepath.Join(w.cgroups, w.name+"-keeper")
	if err := os.MkdirAll(keeper, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Rmdir(keeper)
		_ = unix.Rmdir(w.cgroups)
	})
	return w
}

// root is the test itself, with all it has.
func (w *world) root(args ...string) string {
	w.t.Helper()
	cmd := w.dress(exec.Command(w.plain[0], args...))
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// command is a command line of an actor's.
func (w *world) command(by actor, args ...string) *exec.Cmd {
	w.t.Helper()
	program := w.plain[0]
	if by.unchecked {
		program = w.plain[1]
	}
	return w.as(by, append([]string{program}, args...)...)
}

// as has an actor run any program.
func (w *world) as(by actor, args ...string) *exec.Cmd {
	w.t.Helper()
	if by.uid != 0 {
		cmd := w.dress(exec.Command(args[0], args[1:]...))
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(by.uid), Gid: uint32(by.uid)}
		for _, c := range by.has.List() {
			cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, uintptr(c))
		}
		return cmd
	}
	if by.has == whole(w.t) {
		return w.dress(exec.Command(args[0], args[1:]...))
	}
	bounds := "-all"
	for _, c := range by.has.List() {
		bounds += ",+" + strings.ToLower(strings.TrimPrefix(c.String(), "CAP_"))
	}
	setpriv := []string{"--bounding-set=" + bounds, "--inh-caps=-all", "--ambient-caps=-all"}
	return w.dress(exec.Command(privilege.Tool(w.t, "setpriv"), append(setpriv, args...)...))
}

// dress gives a command the world's places.
func (w *world) dress(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(environment(), marker+"="+w.name, "SOCKDIST_RUNTIME_DIR="+w.runtime)
	if w.pins != "" {
		cmd.Env = append(cmd.Env, "SOCKDIST_DIR="+w.pins)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Dir = "/"
	return cmd
}

// An outcome is what became of a deed.
type outcome struct {
	code int
	said string // standard error
	fine bool   // it did all that it should
}

// verb runs a command line to its end.
func (w *world) verb(by actor, args ...string) outcome {
	w.t.Helper()
	return w.finish(w.command(by, args...))
}

func (w *world) finish(cmd *exec.Cmd) outcome {
	w.t.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	stop := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	_ = cmd.Wait() // the state tells
	code := cmd.ProcessState.ExitCode()
	return outcome{code, said.String(), code == 0}
}

// app runs an app of two workers until it serves or fails, and ends it.
func (w *world) app(by actor, args ...string) outcome {
	w.t.Helper()
	a := w.startApp(by, args...)
	served := a.serves() && w.answers()
	return a.end(served)
}

// runningApp is an app that an actor started.
type runningApp struct {
	w     *world
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{}
}

func (w *world) startApp(by actor, args ...string) *runningApp {
	w.t.Helper()
	line := append([]string{"run", "--name", w.name, "-n", "2", "--grace", "5s", "--log", "plain"}, args...)
	worker := []string{"--", w.worker, "-listen", w.address()}
	if !slices.Contains(args, "--user") { // there it is closed to others because of the user
		worker = append(worker, "-hidden")
	}
	return w.startCommand(w.command(by, append(line, worker...)...))
}

func (w *world) startCommand(cmd *exec.Cmd) *runningApp {
	w.t.Helper()
	a := &runningApp{w: w, cmd: cmd, log: outputFile(w.t), ended: make(chan struct{})}
	a.cmd.Stderr, a.cmd.Stdout = a.log, a.log
	if err := a.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = a.cmd.Wait() // the state tells
		close(a.ended)
	}()
	return a
}

// serves waits until both workers do, or it is clear that they won't.
func (a *runningApp) serves() (fine bool) {
	a.w.t.Helper()
	until(a.w.t, "the app serves or fails: "+read(a.log), func() bool {
		text := read(a.log)
		fine = strings.Contains(text, "with 2 workers (pid")
		select {
		case <-a.ended:
			fine = false
			return true
		default:
			return fine || a.complains()
		}
	})
	return fine
}

func (a *runningApp) complains() bool {
	return strings.Contains(read(a.log), "level=WARN") || strings.Contains(read(a.log), "level=ERROR")
}

// end ends the app in order.
func (a *runningApp) end(fine bool) outcome {
	a.w.t.Helper()
	_ = a.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-a.ended:
	case <-time.After(patience):
		a.w.t.Fatalf("it doesn't end:\n%s", read(a.log))
	}
	code := a.cmd.ProcessState.ExitCode()
	return outcome{code, read(a.log), fine && code == 0 && !a.complains()}
}

// answers tells whether a worker does.
func (w *world) answers() bool {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", w.port))
	if err != nil {
		return false
	}
	return response.Body.Close() == nil
}

// server starts two processes of a user, each with a listener of one group.
func (w *world) server(uid int) {
	w.t.Helper()
	if w.in != nil {
		w.port = servers.FreePort(w.t, w.in)
	}
	for range 2 {
		file := w.listener()
		cmd := w.dress(exec.Command(privilege.Tool(w.t, "sleep"), "infinity"))
		cmd.ExtraFiles = []*os.File{file}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
		if err := cmd.Start(); err != nil {
			w.t.Fatal(err)
		}
		file.Close()
		w.t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}

func (w *world) listener() (file *os.File) {
	w.t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var failed error
		err := conn.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(err, failed)
	}}
	config.SetMultipathTCP(false)
	open := func() error {
		l, err := config.Listen(context.Background(), "tcp4", w.address())
		if err != nil {
			return err
		}
		defer l.Close()
		file, err = l.(*net.TCPListener).File()
		return err
	}
	var err error
	if w.in != nil {
		err = w.in.Do(open)
	} else {
		err = open()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return file
}

func (w *world) address() string { return fmt.Sprint("127.0.0.1:", w.port) }

// group is the name that attach gives.
func (w *world) group() string { return fmt.Sprint("127-0-0-1-", w.port) }

// give has the pin folder belong to another user, with all that is in it.
func (w *world) give(uid int) {
	w.t.Helper()
	if err := os.MkdirAll(w.pins, 0o700); err != nil {
		w.t.Fatal(err)
	}
	err := filepath.WalkDir(w.pins, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// left is what there is of the world's in the kernel and on the machine, but
// for what is found before a deed.
func (w *world) left() (found []string) {
	_ = filepath.WalkDir(w.pins, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return nil
	})
	cgroups, _ := filepath.Glob(filepath.Join(w.cgroups, w.name))
	for _, pid := range w.processes() {
		found = append(found, fmt.Sprint("process ", pid))
	}
	return append(found, cgroups...)
}

// processes are those of the world's apps and servers.
func (w *world) processes() (pids []int) {
	lists, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil || !bytes.Contains(text, []byte("\x00"+marker+"="+w.name+"\x00")) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(list, "/proc/%d/environ", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killAll ends what a deed left that went wrong on purpose.
func (w *world) killAll() {
	w.kill(func(int) bool { return true })
	w.removeCgroups()
	_ = os.RemoveAll(w.pins)
}

// kill ends the processes that are meant, and waits for their end: what is done
// next looks for what is left.
func (w *world) kill(meant func(pid int) bool) {
	until(w.t, "all processes are gone", func() bool {
		left := slices.DeleteFunc(w.processes(), func(pid int) bool { return !meant(pid) })
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		return len(left) == 0
	})
}

// removeCgroups waits for processes that are gone but for their cgroup: that is
// among the last that they leave.
func (w *world) removeCgroups() {
	whole := filepath.Join(w.cgroups, w.name)
	until(w.t, "the cgroups are removed", func() bool {
		leaves, _ := filepath.Glob(filepath.Join(whole, "*"))
		for _, leaf := range append(leaves, whole) {
			_ = unix.Rmdir(leaf)
		}
		_, err := os.Stat(whole)
		return errors.Is(err, fs.ErrNotExist)
	})
}
