package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
)

func TestQuota(t *testing.T) {
	v2 := func(dir string) mountLine { return mountLine{root: "/", dir: dir, kind: "cgroup2"} }
	v1 := func(dir string) mountLine {
		return mountLine{root: "/", dir: dir, kind: "cgroup", super: []string{"rw", "cpu", "cpuacct"}}
	}
	cases := []struct {
		name  string
		own   string
		files map[string]string
		mount func(string) mountLine
		want  float64
	}{
		{"no limit", "0::/a\n", map[string]string{"a/cpu.max": "max 100000\n"}, v2, 0},
		{"no files", "0::/a\n", nil, v2, 0},
		{"its own", "0::/a\n", map[string]string{"a/cpu.max": "250000 100000\n"}, v2, 2.5},
		{"the tightest above", "0::/a/b/c\n", map[string]string{
			"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n", "a/b/c/cpu.max": "400000 100000\n",
		}, v2, 1.5},
		{"a neighbour's", "0::/a\n", map[string]string{"b/cpu.max": "50000 100000\n"}, v2, 0},
		{"nonsense", "0::/a\n", map[string]string{"a/cpu.max": "many\n"}, v2, 0},
		{"version 1", "3:cpu,cpuacct:/a\n0::/\n", map[string]string{
			"a/cpu.cfs_quota_us": "50000\n", "a/cpu.cfs_period_us": "100000\n",
		}, v1, 0.5},
		{"version 1, no limit", "3:cpu,cpuacct:/a\n0::/\n", map[string]string{
			"a/cpu.cfs_quota_us": "-1\n", "a/cpu.cfs_period_us": "100000\n",
		}, v1, 0},
		{"version 1, of another controller", "3:cpuset:/a\n0::/\n", map[string]string{
			"a/cpu.cfs_quota_us": "50000\n", "a/cpu.cfs_period_us": "100000\n",
		}, v1, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, limited := quota(c.own, []mountLine{c.mount(dir)})
			if got != c.want || limited != (c.want != 0) {
				t.Errorf("got %v, %v, want %v", got, limited, c.want)
			}
		})
	}
}

// TestQuotaOfThisKernel asks a child in a real cgroup with a real limit.
func TestQuotaOfThisKernel(t *testing.T) {
	if os.Getenv("CGROUP_TEST_QUOTA") != "" {
		limit, limited, err := CPUs()
		fmt.Printf("quota %v %v %v\n", limit, limited, err)
		return
	}
	privilege.Require(t)
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("needs a shell, which guests with other kernels haven't")
	}
	dir, limit := limitedCgroup(t)
	child := exec.Command("sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`,
		dir, os.Args[0], "-test.run=^TestQuotaOfThisKernel$", "-test.v")
	child.Env = append(os.Environ(), "CGROUP_TEST_QUOTA=1")
	output, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if !strings.Contains(string(output), fmt.Sprintf("quota %v true <nil>", limit)) {
		t.Errorf("got\n%s", output)
	}
}

// limitedCgroup makes a cgroup limited to a CPU and a half, in whichever
// hierarchy the machine has its cpu controller.
func limitedCgroup(t *testing.T) (dir string, limit float64) {
	t.Helper()
	mounts, err := mounted()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("sockdist-quota-%d", os.Getpid())
	for _, line := range mounts {
		settings := map[string]string{"cpu.max": "150000 100000"}
		switch {
		case line.kind == "cgroup" && slices.Contains(line.super, "cpu"):
			settings = map[string]string{"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"}
		case line.kind != "cgroup2":
			continue
		}
		dir := filepath.Join(line.dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := (directory{dir}).Remove(); err != nil {
				t.Error(err)
			}
		})
		if setAll(dir, settings) {
			return dir, 1.5
		}
	}
	t.Skip("no cpu controller that can be limited on this machine")
	return "", 0
}

func setAll(dir string, settings map[string]string) bool {
	for name, text := range settings {
		if writeFile(filepath.Join(dir, name), text) != nil {
			return false
		}
	}
	return true
}
