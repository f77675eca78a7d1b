package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
)

// A fleet is the workers of one contender, with what looks after them.
type fleet interface {
	port() int
	records() string
	// pids are the live workers.
	pids() ([]int, error)
	// end ends all of it.
	end()
}

// A contender starts fleets.
type contender struct {
	name  string
	start func(b *bench, workers int) (fleet, error)
}

// errFleetEnded says that nobody looks after the workers any more.
var errFleetEnded = errors.New("it ended")

// patience bounds every wait for a fleet.
const patience = 30 * time.Second

// awaitWorkers waits until n workers are live, none of them a certain one.
func awaitWorkers(f fleet, n, without int) error {
	var pids []int
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		pids, err = f.pids()
		if errors.Is(err, errFleetEnded) {
			return err
		}
		old := false
		for _, pid := range pids {
			old = old || pid == without
		}
		if err == nil && len(pids) == n && !old {
			return nil
		}
	}
	return fmt.Errorf("no %d workers within %v: %v, %v", n, patience, pids, err)
}

// freePort finds a port where nobody listens, outside of what the kernel gives
// to clients.
func freePort() (int, error) {
	for range 100 {
		port := 10000 + rand.IntN(20000)
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err == nil {
			l.Close()
			return port, nil
		}
	}
	return 0, fmt.Errorf("no port from 10000 to 30000 is free")
}

// newRecords makes a folder for what workers record, and their environment.
func (b *bench) newRecords() (folder string, env []string, err error) {
	folder, err = os.MkdirTemp(b.folder, "records-")
	return folder, append(os.Environ(), ledger.FolderVariable+"="+folder, "GOMAXPROCS=1", "GODEBUG=multipathtcp=0"), err
}

// outputFile takes what a process says.
func (b *bench) outputFile(name string) (*os.File, error) {
	return os.Create(filepath.Join(b.folder, name))
}
