package cgroup

import (
	"errors"
	"strings"
	"testing"
)

const others = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
`

func TestPickV2(t *testing.T) {
	cases := []struct {
		name, table string
		dir, root   string
		fails       string
	}{
		{
			name:  "unified",
			table: `31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate`,
			dir:   "/sys/fs/cgroup", root: "/",
		}, {
			name: "hybrid",
			table: `32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
38 31 0:35 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`,
			dir: "/sys/fs/cgroup/unified", root: "/",
		}, {
			name:  "a space in the path",
			table: `38 31 0:35 / /mnt/my\040groups rw shared:7 - cgroup2 none rw`,
			dir:   "/mnt/my groups", root: "/",
		}, {
			name: "the writable one of two",
			table: `38 31 0:35 / /a ro - cgroup2 none rw
39 31 0:35 / /b rw - cgroup2 none rw`,
			dir: "/b", root: "/",
		}, {
			name: "the whole rather than a part",
			table: `38 31 0:35 /user.slice /a rw - cgroup2 none rw
39 31 0:35 / /b rw - cgroup2 none rw`,
			dir: "/b", root: "/",
		}, {
			name:  "none",
			fails: "no cgroup2 in the mount table",
		}, {
			name:  "an unprivileged container",
			table: `38 31 0:35 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw`,
			fails: "mounted read-only",
		}, {
			name:  "a mount from outside of the namespace",
			table: `38 31 0:35 /../.. /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw`,
			fails: "outside of this process's cgroup namespace",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			lines, err := parseMountinfo(strings.NewReader(others + c.table))
			if err != nil {
				t.Fatal(err)
			}
			mount, err := pickV2(lines)
			if c.fails != "" {
				if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("got %v, want an ErrUnavailable with %q", err, c.fails)
				}
				return
			}
			if err != nil || mount.Dir != c.dir || mount.Root != c.root {
				t.Errorf("got %+v, %v", mount, err)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	cases := []struct{ dir, root, cgroup, want string }{
		{"/sys/fs/cgroup", "/", "/", "/sys/fs/cgroup"},
		{"/sys/fs/cgroup", "/", "/a/b", "/sys/fs/cgroup/a/b"},
		{"/sys/fs/cgroup", "/docker/1", "/docker/1", "/sys/fs/cgroup"},
		{"/sys/fs/cgroup", "/docker/1", "/docker/1/x", "/sys/fs/cgroup/x"},
		{"/sys/fs/cgroup", "/docker/1", "/docker/12", ""},
		{"/sys/fs/cgroup", "/docker/1", "/", ""},
	}
	for _, c := range cases {
		got, err := (&Mount{Dir: c.dir, Root: c.root}).resolve(c.cgroup)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add(others)
	f.Add(`38 31 0:35 / /my\040groups\ rw - cgroup2 none rw`)
	f.Add(`38 31 0:35 / \04 rw - - cgroup2 none rw`)
	f.Fuzz(func(t *testing.T, table string) {
		lines, err := parseMountinfo(strings.NewReader(table))
		if err != nil {
			return
		}
		for _, line := range lines {
			if line.kind == "" || line.dir == "" {
				t.Errorf("parsed to %+v", line)
			}
		}
	})
}
