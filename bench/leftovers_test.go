package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/loader"
)

func pidOf(cmd *exec.Cmd) string { return strconv.Itoa(cmd.Process.Pid) }

// pinsAreCleared makes pins as the next run does, by which those of one that was
// killed go.
func pinsAreCleared(t *testing.T, pid string) {
	t.Helper()
	host, err := loader.OpenTemporary("bench")
	if err != nil {
		t.Fatal(err)
	}
	mount := filepath.Dir(filepath.Dir(host.Dir()))
	if left, _ := filepath.Glob(filepath.Join(mount, "sockdist-bench-"+pid+"-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := host.Remove(); err != nil {
		t.Error(err)
	}
}

// The next run ends what one that was killed has left.
func TestKilled(t *testing.T) {
	privilege.Require(t)
	binary := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.Command(binary, "-quick", "-only", "rate/go", "-contenders", "sockdist-go",
		"-o", filepath.Join(t.TempDir(), "r.json"), "-html", filepath.Join(t.TempDir(), "r.html"))
	before, _ := os.ReadFile(autogroup)
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	defer run.Process.Kill()
	mount, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	own := func() (apps []string) {
		all, err := mount.Apps()
		if err != nil {
			t.Fatal(err)
		}
		for _, app := range all {
			if strings.HasPrefix(app+"-", "bench-"+pidOf(run)+"-") {
				apps = append(apps, app)
			}
		}
		return apps
	}
	var pids []int
	for deadline := time.Now().Add(2 * time.Minute); len(own()) < 2 || len(pids) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("there is no worker: %v", own())
		}
		for _, app := range own() {
			if strings.Count(app, "-") == 2 { // of sockdist run
				pids, _ = mount.Branch(app).Procs()
			}
		}
	}
	if err := run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait()
	if unix.Kill(pids[0], 0) != nil {
		t.Errorf("worker %d ended with the bench: nothing is left to clear", pids[0])
	}
	if err := clearLeftovers(); err != nil {
		t.Error(err)
	}
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), "sockdist-bench-"+pidOf(run)+"-*"))
	if len(own()) > 0 || len(folders) > 0 {
		t.Errorf("left: %v %v", own(), folders)
	}
	pinsAreCleared(t, pidOf(run))
	if after, _ := os.ReadFile(autogroup); string(after) != string(before) {
		t.Errorf("%s was %s, and is %s", autogroup, before, after)
	}
}
