package loader

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	bpffsDefault = "/sys/fs/bpf"
	layout       = "v2"
)

// pinFolder is the folder that holds the layout version. It may not be there
// yet, nor the file system below it: see mountBPFFS.
func pinFolder(dir string) (string, error) {
	if dir != "" {
		return dir, isBPFFS(dir)
	}
	mount, err := bpffsMount()
	if err != nil {
		return "", err
	}
	if mount == "" {
		mount = bpffsDefault
	}
	dir = filepath.Join(mount, "sockdist")
	return dir, refuseOthers(mount, dir)
}

// refuseOthers is for a bpffs in which everybody may make folders, as one that
// was mounted without a mode. There, somebody may have made ours.
func refuseOthers(mount, dir string) error {
	var above, own unix.Stat_t
	if unix.Stat(mount, &above) != nil || above.Mode&0o002 == 0 || unix.Lstat(dir, &own) != nil {
		return nil
	}
	if own.Uid != 0 && int(own.Uid) != os.Geteuid() {
		return fmt.Errorf("pin folder %s was made by user %d, as %s lets everybody: remove it, and chmod 0700 %[3]s: %w", dir, own.Uid, mount, fs.ErrExist)
	}
	return nil
}

// mountBPFFS mounts bpffs where a pin folder of the machine needs it and nobody did.
func mountBPFFS(dir string) error {
	if !strings.HasPrefix(dir, bpffsDefault+"/") {
		return nil
	}
	err := isBPFFS(dir)
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return explainPin(err) // it is mounted, for others
	}
	err = unix.Mount("bpf", bpffsDefault, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700")
	if err != nil {
		return &UnsupportedError{Feature: "bpffs", Err: fmt.Errorf("mount on %s: %w", bpffsDefault, err),
			Advice: "run as root, or have it mounted: mount -t bpf bpf " + bpffsDefault}
	}
	return nil
}

// mountedFolder is the machine's pin folder, on a bpffs that is mounted.
func mountedFolder() (string, error) {
	dir, err := pinFolder("")
	if err != nil {
		return "", err
	}
	return dir, mountBPFFS(dir)
}

// isBPFFS tells whether dir, or the closest parent that exists, is on bpffs.
func isBPFFS(dir string) error {
	for path := dir; ; path = filepath.Dir(path) {
		var fs unix.Statfs_t
		err := unix.Statfs(path, &fs)
		if errors.Is(err, unix.ENOENT) && path != filepath.Dir(path) {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "statfs", Path: path, Err: err}
		}
		if uint32(fs.Type) != unix.BPF_FS_MAGIC {
			return fmt.Errorf("pin folder %s is not on a bpf file system: mount one there, or name another folder: %w", dir, unix.EINVAL)
		}
		return nil
	}
}

// bpffsMount is where bpffs is mounted: the usual place if it is there, else any other; "" if nowhere.
func bpffsMount() (string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find bpffs: %w", err)
	}
	defer file.Close()

	found := ""
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		mount, rest, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(mount)
		if !ok || len(fields) < 5 || !strings.HasPrefix(rest, "bpf ") || fields[3] != "/" {
			continue
		}
		if fields[4] == bpffsDefault {
			return bpffsDefault, nil
		}
		if found == "" {
			found = fields[4]
		}
	}
	return found, lines.Err()
}
