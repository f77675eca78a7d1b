package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/kernels/guest"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/loader"
)

// These tests start the real binary, as users do, and real servers under it.
// Each app has its own name, pin folder and ports, so any number of tests, and
// of test runs, can go on at once.

// prefix begins the name of every app of this test run.
var prefix = fmt.Sprintf("run-test-%d", os.Getpid())

// marker is in the environment of everything that a test starts, with the name
// of its app, so that what is left can be found.
const marker = "SOCKDIST_TEST_APP"

// programs are the binaries under test, and where things are on this machine.
type programs struct {
	sockdist string
	worker   string // testdata/worker
	bpffs    string
	cgroups  string // the folder of all apps
}

// needPrograms builds the binaries, once a test run. It skips t where they
// can't run.
func needPrograms(t testing.TB) programs {
	t.Helper()
	if kernel := os.Getenv(guest.Variable); kernel != "" {
		t.Skipf("the guest with kernel %s has no servers", kernel)
	}
	privilege.Require(t)
	p, err := findPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var findPrograms = sync.OnceValues(func() (p programs, err error) {
	mount, err := cgroup.Find()
	if err != nil {
		return p, err
	}
	p.cgroups = filepath.Join(mount.Dir, "sockdist")
	host, err := loader.Open(loader.Options{})
	if err != nil {
		return p, err
	}
	p.bpffs = filepath.Dir(filepath.Dir(host.Dir()))

	dir, err := os.MkdirTemp("", prefix+"-")
	if err != nil {
		return p, err
	}
	if err := p.hireJanitor(dir); err != nil {
		return p, err
	}
	// Workers of other users have to get at it.
	if err := os.Chmod(dir, 0o755); err != nil {
		return p, err
	}
	p.sockdist, p.worker = filepath.Join(dir, "sockdist"), filepath.Join(dir, "worker")
	if err := build(p.sockdist, ".", raceFlag()...); err != nil {
		return p, err
	}
	return p, build(p.worker, "testdata/worker/main.go")
})

// hireJanitor starts a process that cleans up when the test binary is gone,
// also when it was killed or ran out of time: it removes the binaries, and ends
// and removes whatever tests had no time for.
func (p programs) hireJanitor(dir string) error {
	watched, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	defer watched.Close()
	janitor := exec.Command("sh", "-c", `
read -r _
for round in 1 2 3; do
	for environ in $(grep -lsz "^$1=$2-" /proc/[0-9]*/environ); do
		pid=${environ#/proc/}
		kill -s KILL "${pid%/environ}"
	done
	sleep 0.2
done
rmdir "$3/$2"-*/* "$3/$2"-* "$3"
rm -rf "$4/$2"-* "$5"`, "janitor", marker, prefix, p.cgroups, p.bpffs, dir)
	janitor.Stdin = watched
	// Ctrl-C is not for it.
	janitor.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	lifeline = alive
	return janitor.Start()
}

// lifeline is closed by the kernel, with the test binary.
var lifeline *os.File

func build(to, what string, flags ...string) error {
	args := append([]string{"build", "-o", to}, flags...)
	if output, err := exec.Command("go", append(args, what)...).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", what, err, output)
	}
	return nil
}

// raceFlag has the binary look for races when the test does.
func raceFlag() []string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "-race" && setting.Value == "true" {
				return []string{"-race"}
			}
		}
	}
	return nil
}
