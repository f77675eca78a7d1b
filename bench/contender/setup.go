package contender

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/result"
	"github.com/sockdist/sockdist/internal/cgroup"
)

// A Setup is what one start of a contender gets.
type Setup struct {
	Workers  int
	Serial   bool         // see Ability
	Folder   string       // its own, for what it writes; the caller removes it after Stop
	Programs Programs     // built by the harness
	Leaf     *cgroup.Leaf // where its processes live, but for those that sockdist moves to a cgroup of its own
	CPUs     *unix.CPUSet // that it may use; nil: all

	fleet *Fleet
}

// Programs are the commands that the harness builds before it starts.
type Programs struct {
	Sockdist string // cmd/sockdist
	Server   string // bench/peers/go/server
	Master   string // bench/peers/go/master
	FastHTTP string // bench/peers/go/fasthttp
	Fiber    string // bench/peers/go/fiber
	Peers    string // the folder bench/peers
}

// Config writes a file into the setup's folder, and notes it for the results.
func (s *Setup) Config(name, text string) (path string, err error) {
	path = filepath.Join(s.Folder, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", err
	}
	f := s.begun()
	f.Configs = append(f.Configs, result.Config{Name: name, Text: text})
	return path, nil
}

// freePort is a port where nobody listens, outside of what the kernel gives to
// clients.
func freePort() (int, error) {
	for range 1000 {
		port := 10000 + rand.IntN(20000)
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 0),
			unix.Bind(fd, &unix.SockaddrInet6{Port: port}))
		unix.Close(fd)
		if err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no port from 10000 to 30000 is free")
}
