package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrRunning is wrapped when another daemon has the runtime folder.
var ErrRunning = errors.New("another sockdist serve runs")

// killedPatience is far more than the lock of a daemon that was killed outlives
// it: a process that it was just starting has it until its exec.
const killedPatience = time.Second

// A lock keeps other daemons away. It is the kernel's, and ends with the process.
type lock struct{ file *os.File }

func takeLock(runtime string) (*lock, error) {
	path := filepath.Join(runtime, "serve.lock")
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		file, err := tryLock(path)
		switch {
		case err == nil:
			return &lock{file}, nil
		case errors.Is(err, fs.ErrNotExist): // it was just removed
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if time.Since(began) > killedPatience {
			return nil, fmt.Errorf("%w%s with the runtime folder %s: end that one first, or change its configuration and have it apply", ErrRunning, holder(path), runtime)
		}
	}
}

func tryLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, err
	}
	locked, err := file.Stat()
	if err == nil {
		var present os.FileInfo
		if present, err = os.Stat(path); err == nil && !os.SameFile(locked, present) {
			err = fs.ErrNotExist
		}
	}
	if err == nil {
		if err = file.Truncate(0); err == nil {
			_, err = fmt.Fprintln(file, os.Getpid())
		}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// holder says who has the lock, if that is known.
func holder(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 32))
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return " (process " + pid + ")"
	}
	return ""
}

// release gives the lock up, and removes its file.
func (l *lock) release() {
	_ = os.Remove(l.file.Name())
	l.file.Close()
}
