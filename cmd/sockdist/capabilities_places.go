package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/control"
	"golang.org/x/sys/unix"
)

// pinFolder is where pins are, or will be.
func (e *environment) pinFolder() string {
	if e.dir != "" {
		return e.dir
	}
	return e.machineFolder()
}

// machineFolder is the one without --dir.
func (e *environment) machineFolder() string {
	mount, err := loader.BPFFS()
	if err != nil || mount == "" {
		return "/" // it is mounted first, and then it is ours
	}
	return filepath.Join(mount, "sockdist")
}

// appFolders are those in which run makes others.
func (e *environment) appFolders() []string {
	folders := []string{e.pinFolder()}
	if mount, err := cgroup.Find(); err == nil {
		folders = append(folders, filepath.Join(mount.Dir, "sockdist"))
	}
	return folders
}

// circumstances are the conditions that the machine itself meets: folders that
// are closed to this user, and bpffs that isn't mounted.
func (e *environment) circumstances(folders ...string) (when []condition) {
	if nothing, err := e.nothingPinned(); err == nil && nothing {
		when = append(when, unmounted)
	}
	if slices.ContainsFunc(folders, isClosed) {
		when = append(when, closed)
	}
	return when
}

// stayClosed tells whether run has to keep the right to closed folders: for the
// end, when it removes what was made in them; and for its own binary, which it
// starts again if what it reads workers' output with dies.
func (e *environment) stayClosed() bool {
	runtime := e.getenv(runtimeVariable)
	if runtime == "" {
		runtime = control.DefaultRuntimeDir
	}
	folders := append(e.appFolders(), runtime)
	if mount, err := cgroup.Find(); err == nil {
		folders = append(folders, mount.Dir)
	}
	self, err := os.Stat("/proc/self/exe")
	return slices.ContainsFunc(folders, isClosed) || err != nil || !permits(self, 1)
}

// hasOthersWorkers tells whether workers of an app have another user than this process.
func hasOthersWorkers(app string) bool {
	mount, err := cgroup.Find()
	if err != nil {
		return false
	}
	lists, _ := filepath.Glob(filepath.Join(mount.Dir, "sockdist", app, "*", "cgroup.procs"))
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for _, pid := range strings.Fields(string(text)) {
			var stat unix.Stat_t
			if err := unix.Stat("/proc/"+pid, &stat); err == nil && int(stat.Uid) != os.Geteuid() {
				return true
			}
		}
	}
	return false
}

// isClosed tells whether a folder can't be used, or, where it isn't there yet,
// not be made, by this user without CAP_DAC_OVERRIDE. The kernel can't be asked,
// as it would count that capability in.
func isClosed(folder string) bool {
	const search, change = 1, 3
	path := "/"
	for _, name := range append(strings.Split(strings.Trim(filepath.Clean(folder), "/"), "/"), "") {
		info, err := os.Stat(filepath.Join(path, name))
		if os.IsNotExist(err) || name == "" {
			info, err = os.Stat(path)
			return err != nil || !permits(info, change)
		}
		if err != nil || !permits(info, search) {
			return true
		}
		path = filepath.Join(path, name)
	}
	return false
}

// permits tells whether the mode bits allow this user something: 1, 2 and 4 are
// execute or search, write, and read.
func permits(info os.FileInfo, what os.FileMode) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	mode := info.Mode().Perm()
	groups, _ := os.Getgroups()
	switch {
	case int(stat.Uid) == os.Geteuid():
		mode >>= 6
	case int(stat.Gid) == os.Getegid() || slices.Contains(groups, int(stat.Gid)):
		mode >>= 3
	}
	return mode&what == what
}
