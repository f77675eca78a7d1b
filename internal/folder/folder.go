// Package folder keeps what a process of root's writes out of other users'
// hands: in a folder of theirs, a link that they plant would lead it elsewhere.
package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// ErrOthers is wrapped when somebody else may change a file, or what is in a folder.
var ErrOthers = errors.New("others may change it")

// Check tells whether nobody but root and this user may change what is in a
// folder, or put another one in its place. A folder that is open to all, such
// as /tmp, may be above it if it is sticky.
func Check(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return err
	}
	for at := real; ; at = filepath.Dir(at) {
		if err := check(at, at == real); err != nil {
			return err
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// CheckFile is the same for a file.
func CheckFile(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	if err := judge(real, info, true); err != nil {
		return err
	}
	return Check(filepath.Dir(real))
}

func check(path string, innermost bool) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "use", Path: path, Err: syscall.ENOTDIR}
	}
	return judge(path, info, innermost)
}

func judge(path string, info fs.FileInfo, innermost bool) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: its owner can't be told", path)
	}
	if stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to %s: %w; take another, or give it to who runs sockdist", path, userName(stat.Uid), ErrOthers)
	}
	open := info.Mode().Perm()&0o002 != 0 || info.Mode().Perm()&0o020 != 0 && stat.Gid != 0 && int(stat.Gid) != os.Getegid()
	if open && (innermost || info.Mode()&fs.ModeSticky == 0) {
		return fmt.Errorf("%s has mode %#o: %w; take another, or chmod go-w it", path, info.Mode().Perm(), ErrOthers)
	}
	return nil
}

func userName(uid uint32) string {
	number := strconv.Itoa(int(uid))
	if u, err := user.LookupId(number); err == nil {
		return "user " + u.Username
	}
	return "user " + number
}

// WriteFile leaves the old file, or the new one, of mode 0600, and never half of
// it. It follows no link.
func WriteFile(path string, text []byte) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // who was killed left it
		return err
	}
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		_ = os.Remove(next)
	}
	return err
}
