package contender

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// acceptors are the processes that accept at a port. Who once did is taken to
// do so for the rest of its life.
type acceptors struct {
	port  int
	known []int
}

// among chooses those processes that accept.
func (a *acceptors) among(pids []int) ([]int, error) {
	if slices.ContainsFunc(pids, func(pid int) bool { return !slices.Contains(a.known, pid) }) {
		if err := a.look(); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { return !slices.Contains(a.known, pid) }), nil
}

// look finds who polls a listener of the port, or waits in accept on it, or has
// it and a connection, too busy for either.
func (a *acceptors) look() error {
	listeners, err := sockets.Listeners(sockets.Address{Port: uint16(a.port)})
	if err != nil {
		return err
	}
	var inodes []uint32
	for _, l := range listeners {
		inodes = append(inodes, l.Inode)
	}
	found, err := sockets.Holders(inodes)
	if err != nil {
		return err
	}
	for inode, holders := range found {
		for _, h := range holders {
			if h.PollsIt || h.AcceptsIt || hasOther(h.PID, inode) {
				a.known = append(a.known, h.PID)
			}
		}
	}
	return nil
}

// hasOther tells whether a process has a socket beside its listener.
func hasOther(pid int, listener uint32) bool {
	descriptors, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(descriptors, func(fd string) bool {
		target, _ := os.Readlink(fd)
		return strings.HasPrefix(target, "socket:[") && target != fmt.Sprintf("socket:[%d]", listener)
	})
}
