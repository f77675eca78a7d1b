package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/kernels/guest"
)

// Here a shell script stands for QEMU: what is tried is how a boot ends. Guests
// that really boot are tried by package selftest.

type bench struct {
	machine Machine
	image   Image
	pkg     Package
}

func newBench(t *testing.T, script string) bench {
	t.Helper()
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, Emulator()[0].Name), []byte("#!/bin/sh\n"+script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for name, perm := range map[string]os.FileMode{"init": 0o755, "x.test": 0o755, "vmlinuz": 0o644, "modules/00-m.ko": 0o644, "p/testdata/d/f": 0o644} {
		file := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(file), 0o755))
		check(t, os.WriteFile(file, []byte(name), perm))
	}
	check(t, os.Symlink("d/f", filepath.Join(dir, "p/testdata/link")))
	work := filepath.Join(dir, "work")
	check(t, os.Mkdir(work, 0o755))
	return bench{
		Machine{Init: filepath.Join(dir, "init"), Dir: work, Memory: 64, Timeout: time.Minute},
		Image{Kernel: Kernel{Name: "6.1"}, Dir: dir},
		Package{Path: "example.test/p", Dir: filepath.Join(dir, "p"), Tests: true, Binary: filepath.Join(dir, "x.test")},
	}
}

func TestBootOutcome(t *testing.T) {
	passed, failed := int(guest.Report(0))<<1|1, int(guest.Report(1))<<1|1
	for status, pass := range map[int]bool{passed: true, failed: false, 0: false, 1: false} {
		b := newBench(t, fmt.Sprintf("echo some output; exit %d\n", status))
		var out bytes.Buffer
		err := b.machine.Boot(t.Context(), b.image, b.pkg, &out)
		if (err == nil) != pass || out.String() != "some output\n" {
			t.Errorf("status %d: %v, output %q", status, err, out.String())
		}
		empty(t, b.machine.Dir)
	}
}

func TestBootTimeout(t *testing.T) {
	b := newBench(t, "echo $$; exec sleep 1000\n")
	var out bytes.Buffer
	// On a busy machine it may not have come as far as telling its number.
	for b.machine.Timeout = 200 * time.Millisecond; out.Len() == 0 && b.machine.Timeout < time.Minute; b.machine.Timeout *= 4 {
		if err := b.machine.Boot(t.Context(), b.image, b.pkg, &out); !errors.Is(err, ErrTimeout) {
			t.Fatalf("error %v, want ErrTimeout", err)
		}
	}
	gone(t, out.String())
	empty(t, b.machine.Dir)
}

func TestBootInterrupted(t *testing.T) {
	b := newBench(t, "echo $$; exec sleep 1000\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &cancelling{cancel: cancel}
	if err := b.machine.Boot(ctx, b.image, b.pkg, out); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	gone(t, out.written.String())
	empty(t, b.machine.Dir)
}

func TestInitrd(t *testing.T) {
	b := newBench(t, "")
	file := filepath.Join(t.TempDir(), "initrd")
	check(t, writeInitrd(file, b.image, b.machine.Init, b.pkg))
	content, err := os.ReadFile(file)
	check(t, err)
	for _, name := range []string{"init", "modules/00-m.ko", "t/example.test/p/test", "t/example.test/p/testdata/d/f", "t/example.test/p/testdata/link"} {
		if !bytes.Contains(content, []byte(name+"\x00")) {
			t.Errorf("no %s in it", name)
		}
	}
}

func TestInitrdWithSocket(t *testing.T) {
	b := newBench(t, "")
	check(t, syscall.Mkfifo(filepath.Join(b.pkg.Dir, "testdata", "pipe"), 0o600))
	err := writeInitrd(filepath.Join(t.TempDir(), "initrd"), b.image, b.machine.Init, b.pkg)
	if err == nil || !strings.Contains(err.Error(), "pipe") {
		t.Errorf("error %v, want one that names the pipe", err)
	}
}

// cancelling ends a context as soon as something is written.
type cancelling struct {
	written strings.Builder
	cancel  context.CancelFunc
}

func (c *cancelling) Write(b []byte) (int, error) {
	c.cancel()
	return c.written.Write(b)
}

func gone(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(pid))
	check(t, err)
	if err := syscall.Kill(n, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is there: %v", n, err)
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	if len(entries) > 0 {
		t.Errorf("%v left in the working folder", entries)
	}
}
