package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// vanishWithin is how long what was told to end may take: output relays end
// after the last of those that they read from.
const vanishWithin = 15 * time.Second

// leftovers are whatever is still there of the run, in words. It takes away the
// pin folder, which is nobody's own, if it is empty.
func (s *suite) leftovers() (left []string) {
	for deadline := time.Now().Add(s.slow(vanishWithin)); ; time.Sleep(100 * time.Millisecond) {
		left = s.processesLeft()
		left = append(left, s.pinsLeft()...)
		left = append(left, s.filesLeft()...)
		left = append(left, s.socketsLeft()...)
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// processesLeft knows ours by their environment, which has our folder.
func (s *suite) processesLeft() (left []string) {
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		environment, err := os.ReadFile(folder + "/environ")
		if err != nil || !bytes.Contains(environment, []byte(s.folder+"/")) {
			continue
		}
		if pid, _ := strconv.Atoi(filepath.Base(folder)); pid != os.Getpid() {
			line, _ := os.ReadFile(folder + "/cmdline")
			left = append(left, fmt.Sprintf("process %d: %s", pid, bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return left
}

func (s *suite) pinsLeft() (left []string) {
	host, err := loader.Open(loader.Options{Dir: s.pins})
	if err == nil {
		err = host.Remove()
	}
	if err != nil {
		left = append(left, err.Error())
	}
	_ = filepath.WalkDir(s.pins, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			left = append(left, "pin "+path)
		}
		return nil
	})
	return left
}

// filesLeft are cgroups, and what is in the runtime folders.
func (s *suite) filesLeft() (left []string) {
	for _, x := range s.subjects {
		for _, folder := range cgroupsOf(x.own().name) {
			left = append(left, "cgroup "+folder)
		}
		if a, ok := x.(*app); ok {
			files, err := os.ReadDir(a.runtime)
			if err != nil {
				left = append(left, err.Error())
			}
			for _, file := range files {
				left = append(left, "file "+filepath.Join(a.runtime, file.Name()))
			}
		}
	}
	return left
}

func cgroupsOf(name string) (folders []string) {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if folder := filepath.Join(root, "sockdist", name); exists(folder) {
			folders = append(folders, folder)
		}
	}
	return folders
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (s *suite) socketsLeft() (left []string) {
	for _, x := range s.subjects {
		for _, port := range x.own().ports() {
			address := sockets.Address{Port: port}
			listeners, err := sockets.Listeners(address)
			if err != nil {
				return append(left, err.Error())
			}
			for _, l := range listeners {
				left = append(left, fmt.Sprintf("listener on %v", l.Address))
			}
			connections, err := sockets.Connections(address)
			if err != nil {
				return append(left, err.Error())
			}
			for _, c := range connections {
				left = append(left, fmt.Sprintf("connection of %v with %v", c.Local, c.Remote))
			}
		}
	}
	return left
}

// unmount takes the runtime folders away.
func (s *suite) unmount() (left []string) {
	for _, folder := range s.mounts {
		if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
			left = append(left, fmt.Sprintf("unmount %s: %v", folder, err))
		}
	}
	s.mounts = nil
	return left
}
