package loader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// claimAgain is how often a claim that somebody else has is tried again.
const claimAgain = 5 * time.Millisecond

// Claim makes the caller the only one, among all processes, who puts groups
// together or takes them apart: who creates one, fills it and steers it wants
// no other to find it half done. It keeps nobody from a single call of this
// package. The kernel gives the claim up with the process. It waits until it
// has it, or ctx ends. Like the building of a group, it mounts bpffs where
// nobody did.
func (h *Host) Claim(ctx context.Context) (release func(), err error) {
	defer wrap(&err, "claim pin folder")
	if err := mountBPFFS(h.dir); err != nil {
		return nil, err
	}
	folder := filepath.Join(h.dir, "groups")
	for {
		claim, err := claimFolder(folder)
		if err != nil {
			return nil, explainPin(err)
		}
		if claim != nil {
			return func() { claim.Close() }, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(claimAgain):
		}
	}
}

// claimFolder gives nil if somebody else has it, or has just removed it.
func claimFolder(folder string) (*os.File, error) {
	if err := makeFolder(folder); err != nil {
		return nil, err
	}
	claim, err := os.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(claim.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && stillThere(claim, folder) {
		return claim, nil
	}
	claim.Close()
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
		return nil, fmt.Errorf("lock %s: %w", folder, err)
	}
	return nil, nil
}

func stillThere(file *os.File, path string) bool {
	mine, err1 := file.Stat()
	now, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(mine, now)
}
