package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/dependent"
	"github.com/sockdist/sockdist/internal/privilege"
)

func init() { children["mount"] = mountForMyself }

// mountForMyself runs in a mount namespace of its own, takes bpffs away, and
// makes a group in the folder that nobody named.
func mountForMyself([]string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unmountBPFFS(); err != nil {
		return err
	}
	h, err := Open(Options{})
	if err != nil {
		return err
	}
	if h.Dir() != filepath.Join(bpffsDefault, "sockdist", layout) {
		return fmt.Errorf("the folder is %s", h.Dir())
	}
	if names, err := h.Groups(); err != nil || len(names) > 0 {
		return fmt.Errorf("groups %v before there is bpffs: %v", names, err)
	}
	if mount, err := bpffsMount(); err != nil || mount != "" {
		return fmt.Errorf("who only looks has mounted it at %q, %v", mount, err)
	}
	g, err := h.CreateGroup(GroupSpec{Name: "a"})
	if err != nil {
		return err
	}
	defer g.Close()
	if mount, err := bpffsMount(); err != nil || mount != bpffsDefault {
		return fmt.Errorf("mounted at %q, %v", mount, err)
	}
	if info, err := os.Stat(bpffsDefault); err != nil || info.Mode().Perm() != 0o700 {
		return fmt.Errorf("mode of the mount: %v, %v", info, err)
	}
	again, err := Open(Options{}) // mounts nothing over it
	if err != nil {
		return err
	}
	if names, err := again.Groups(); err != nil || len(names) != 1 {
		return fmt.Errorf("groups %v: %v", names, err)
	}
	return g.Destroy()
}

// unmountBPFFS ends all mounts of it in this namespace.
func unmountBPFFS() error {
	for {
		mount, err := bpffsMount()
		if err != nil || mount == "" {
			return err
		}
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", mount, err)
		}
	}
}

func TestMountsBPFFS(t *testing.T) {
	privilege.Require(t)
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	cmd := child("mount", nil)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	said := new(strings.Builder)
	cmd.Stderr = said
	if err := dependent.Run(cmd); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := strings.Count(string(before), " - bpf "), strings.Count(string(after), " - bpf "); a > b {
		t.Errorf("%d mounts of bpffs here, %d afterwards", a, b)
	}
}

func TestFolderNotOnBPFFS(t *testing.T) {
	privilege.Require(t)
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "not", "there"), "/proc"} {
		_, err := Open(Options{Dir: dir})
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		text := err.Error()
		if !strings.Contains(text, dir) || !strings.Contains(text, "mount one there") || strings.Contains(text, "\n") {
			t.Errorf("%s: %q doesn't say what to do", dir, text)
		}
	}
	if _, err := os.Stat("/proc/" + layout); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("made in /proc: %v", err)
	}
}

// Nobody but their owner may look into the folders.
func TestFolderModes(t *testing.T) {
	s := newScene(t)
	g, err := s.host.CreateGroup(commitSpec)
	s.must(err)
	defer g.Close()
	a, err := s.host.CreateApp(AppSpec{Name: "a", Cgroup: s.cgroup})
	s.must(err)
	defer a.Close()
	folders := 0
	s.must(filepath.WalkDir(s.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if entry.IsDir() {
			folders++
		}
		if entry.IsDir() && info.Mode().Perm() != 0o700 || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	}))
	if folders != 8 { // the folder, v1, host, groups, a, apps, a, tmp
		t.Errorf("%d folders", folders)
	}
	s.must(g.Destroy())
	s.must(a.Destroy())
}

func TestNames(t *testing.T) {
	h := newHost(t)
	bad := []string{"", ".", "..", "a.b", "a/b", "/", "../a", "a b", "a\nb", "a\x00b", "ä", strings.Repeat("n", MaxName+1)}
	for _, name := range bad {
		calls := map[string]func() error{
			"CreateGroup": func() error { _, err := h.CreateGroup(GroupSpec{Name: name}); return err },
			"Group":       func() error { _, err := h.Group(name); return err },
			"CreateApp":   func() error { _, err := h.CreateApp(AppSpec{Name: name}); return err },
			"App":         func() error { _, err := h.App(name); return err },
		}
		for call, try := range calls {
			if err := try(); !errors.Is(err, unix.EINVAL) || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%s of %q: %q", call, name, err)
			}
		}
	}
	if _, err := os.Stat(h.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("refused names made the folder: %v", err)
	}
	for _, name := range []string{"a", strings.Repeat("n", MaxName), "web-1_x:80", "-", "0"} {
		g, err := h.CreateGroup(GroupSpec{Name: name})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if g.Spec().Name != name {
			t.Errorf("%q became %q", name, g.Spec().Name)
		}
		if err := g.Destroy(); err != nil {
			t.Error(err)
		}
		g.Close()
	}
}
