package packaging

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/kernels/guest"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/privilege"
)

// patience is for what takes a moment, on a machine that has much else to do.
const patience = time.Minute

// machine is a real systemd with namespaces, a root folder and a cgroup of its
// own: process 1 of what looks to it like a machine. It ends with its test, and
// all that it started with it.
type machine struct {
	*testing.T
	ns  *netns.Namespace
	pid int // of its process 1, as we see it
}

// boot starts a machine. It skips t where none can be.
func boot(t *testing.T) *machine {
	t.Helper()
	if kernel := os.Getenv(guest.Variable); kernel != "" {
		t.Skipf("the guest with kernel %s has no systemd", kernel)
	}
	privilege.Require(t)
	if _, err := os.Stat(program); err != nil {
		t.Skipf("no systemd is installed: %v", err)
	}
	privilege.Tool(t, "systemctl")
	privilege.Tool(t, "nsenter")

	m := &machine{T: t, ns: netns.New(t)}
	init := m.newInit()
	m.must(m.ns.Do(init.Start))
	m.pid = init.Process.Pid
	t.Cleanup(func() {
		_ = init.Process.Kill() // all of the PID namespace goes with it
		_ = init.Wait()
	})
	m.eventually("systemd is up", func() error {
		if _, err := m.try("systemctl", "is-system-running"); err != nil {
			said, _ := os.ReadFile(init.Stderr.(*os.File).Name())
			return fmt.Errorf("%w; %s", err, said)
		}
		return nil
	})
	if _, err := os.Stat(m.path("/sys/fs/cgroup/init.scope")); err != nil {
		t.Fatalf("the machine isn't in a cgroup namespace of its own: %v", err)
	}
	return m
}

func (m *machine) newInit() *exec.Cmd {
	m.Helper()
	self, err := os.Executable()
	m.must(err)
	stderr, err := os.Create(filepath.Join(m.TempDir(), "stderr"))
	m.must(err)
	m.Cleanup(func() { stderr.Close() })
	init := exec.Command(self)
	init.Env = []string{role + "=" + roleInit, rootVariable + "=" + m.TempDir(), cgroupVariable + "=" + m.newCgroup()}
	init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	init.Stderr = stderr
	return init
}

// newCgroup makes one that is removed, with all below it, when the machine is
// gone.
func (m *machine) newCgroup() string {
	m.Helper()
	mount, err := cgroup.Find()
	if err != nil {
		m.Skip(err)
	}
	path := filepath.Join(mount.Dir, fmt.Sprintf("packaging-test-%d-%s", os.Getpid(), m.Name()))
	m.must(os.Mkdir(path, 0o755))
	m.Cleanup(func() {
		m.eventually("the machine's cgroups are gone", func() error { return removeAll(path) })
	})
	return path
}

func removeAll(path string) error {
	var folders []string
	err := filepath.WalkDir(path, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	for i := len(folders) - 1; i >= 0 && err == nil; i-- {
		err = unix.Rmdir(folders[i])
	}
	return err
}

func (m *machine) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *machine) eventually(what string, is func() error) {
	m.Helper()
	end := time.Now().Add(patience)
	for {
		err := is()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			m.Fatalf("not within %v: %s: %v", patience, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// path is where we find a file of the machine.
func (m *machine) path(name string) string { return fmt.Sprintf("/proc/%d/root%s", m.pid, name) }

func (m *machine) write(name, text string) {
	m.Helper()
	m.must(os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	m.must(os.WriteFile(m.path(name), []byte(text), 0o644))
}

func (m *machine) read(name string) string {
	m.Helper()
	text, err := os.ReadFile(m.path(name))
	m.must(err)
	return string(text)
}

// install copies a program into the machine.
func (m *machine) install(from, to string) {
	m.Helper()
	source, err := os.Open(from)
	m.must(err)
	defer source.Close()
	target, err := os.OpenFile(m.path(to), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	m.must(err)
	_, err = io.Copy(target, source)
	m.must(err)
	m.must(target.Close())
}

// try runs a command there.
func (m *machine) try(command ...string) (string, error) {
	arguments := append([]string{
		"--target", strconv.Itoa(m.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--",
	}, command...)
	enter := exec.Command("nsenter", arguments...)
	enter.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	output, err := enter.CombinedOutput()
	text := strings.TrimSpace(string(output))
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, text)
	}
	return text, err
}

func (m *machine) run(command ...string) string {
	m.Helper()
	text, err := m.try(command...)
	m.must(err)
	return text
}

// property asks systemd for one.
func (m *machine) property(unit, name string) string {
	m.Helper()
	return m.run("systemctl", "show", unit, "--property", name, "--value")
}

// processes returns the numbers, as the machine has them, of the processes in
// one of its cgroups and those below it.
func (m *machine) processes(cgroup string) (pids []string) {
	m.Helper()
	text, _ := m.try("sh", "-c", "find /sys/fs/cgroup/"+cgroup+" -name cgroup.procs -exec cat {} +")
	for _, pid := range strings.Fields(text) {
		if _, err := strconv.Atoi(pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
