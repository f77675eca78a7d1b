package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// runtimeSize is that of the file system of a runtime folder, so that it can be
// filled at once.
const runtimeSize = "256k"

// mountRuntime makes the runtime folder a file system of its own, so that it can
// be full or read-only.
func (a *app) mountRuntime() error {
	if err := os.Mkdir(a.runtime, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("chaos", a.runtime, "tmpfs", 0, "mode=700,size="+runtimeSize); err != nil {
		return fmt.Errorf("mount a runtime folder at %s: %w", a.runtime, err)
	}
	a.mounts = append(a.mounts, a.runtime)
	return nil
}

// breakRuntime makes it full or read-only, until mend is called.
func (a *app) breakRuntime(full bool) (mend func() error, err error) {
	if full {
		filler := a.runtime + "/filler"
		err := fill(filler)
		return func() error { return os.Remove(filler) }, err
	}
	remount := func(flags uintptr) error {
		if err := unix.Mount("", a.runtime, "", unix.MS_REMOUNT|flags, "size="+runtimeSize); err != nil {
			return fmt.Errorf("remount %s: %w", a.runtime, err)
		}
		return nil
	}
	// A file that is being written keeps it from that for a moment.
	for range 100 {
		if err = remount(unix.MS_RDONLY); !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return func() error { return remount(0) }, err
}

// fill writes a file until the disk is full.
func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err = io.Copy(file, zeros{}); !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("fill %s: %v", path, err)
	}
	return nil
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
