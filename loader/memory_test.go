package loader

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
)

func init() { children["make groups"] = makeGroups }

// makeGroups makes groups until the kernel has no memory for more. Its memory
// is limited when all that it needs itself is there.
func makeGroups(args []string) error {
	h, err := Open(Options{Dir: args[0]})
	if err != nil {
		return err
	}
	limit := func(value string) error {
		return os.WriteFile(filepath.Join(args[1], "memory.max"), []byte(value), 0)
	}
	for n := range MaxGroups {
		if n == 2 {
			used, err := os.ReadFile(filepath.Join(args[1], "memory.current"))
			if err != nil {
				return err
			}
			bytes, err := strconv.Atoi(strings.TrimSpace(string(used)))
			if err != nil {
				return err
			}
			if err := limit(strconv.Itoa(bytes + 4<<20)); err != nil {
				return err
			}
		}
		g, err := h.CreateGroup(GroupSpec{Name: fmt.Sprint("g", n)})
		if err != nil {
			if failed := limit("max"); failed != nil {
				return failed
			}
			fmt.Println(n, err)
			if !errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "memory.max") {
				return err
			}
			return nil
		}
		g.Close()
	}
	return errors.New("there is memory for all groups")
}

// Without memory for its maps a group isn't made; those that there are go on.
func TestNoMemoryForMaps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	mount, err := cgroup.Find()
	w.must(err)
	tree, err := mount.Create(fmt.Sprintf("loader-test-%d-%d", os.Getpid(), testNumber.Add(1)))
	w.must(err)
	defer func() { w.must(errors.Join(tree.Remove(), tree.Close())) }()
	if err := tree.EnableMemory(); err != nil {
		t.Skipf("no limits of memory here: %v", err)
	}
	leaf, err := tree.Leaf("w1")
	w.must(err)
	dir, err := leaf.Open()
	w.must(err)
	defer dir.Close()
	cmd := child("make groups", []string{filepath.Dir(w.host.Dir()), dir.Name()})
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	out, err := cmd.Output()
	t.Logf("%s %v", out, err)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		err = nil // for small pieces the kernel kills rather than refuse: that must leave nothing half done either
	}
	w.must(err)
	names, err := w.host.Groups()
	w.must(err)
	for _, name := range names {
		if name == w.group.Name() {
			continue
		}
		g, err := w.host.Group(name)
		w.must(err)
		w.must(g.Destroy())
		g.Close()
	}
	w.connect(10)
	w.agree("while there was no memory")
}
