package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// compareCounts wants the counts of status to be those of sock_diag, process by
// process. Connections come and go meanwhile, so it looks until both agree; a
// count that has drifted never does.
func (s *suite) compareCounts(own *service) error {
	var counted, real map[int]int
	for deadline := time.Now().Add(s.slow(quietWithin)); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		groups, err := s.groupsOn(own.ports())
		if err != nil {
			return err
		}
		before, err := realCounts(own.ports(), groups)
		if err != nil {
			return err
		}
		if groups, err = s.groupsOn(own.ports()); err != nil {
			return err
		}
		if real, err = realCounts(own.ports(), groups); err != nil {
			return err
		}
		counted = statusCounts(groups)
		if maps.Equal(before, real) && maps.Equal(counted, real) {
			s.write(own.name, "counts of status are those of sock_diag: %s", describe(counted))
			return nil
		}
	}
	return fmt.Errorf("the counts of status aren't those of sock_diag within %v: %s, and sock_diag has %s (process 0: nobody's)",
		quietWithin, describe(counted), describe(real))
}

// groupsOn are the groups on some ports.
func (s *suite) groupsOn(ports []uint16) (groups []group, err error) {
	st, err := s.readStatus(nil)
	if err != nil {
		return nil, err
	}
	for _, g := range st.Groups {
		if address, err := sockets.ParseAddress(g.Address); err == nil && slices.Contains(ports, address.Port) {
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// statusCounts are connections and those on their way, by process.
func statusCounts(groups []group) map[int]int {
	counts := make(map[int]int)
	for _, g := range groups {
		for _, s := range g.Slots {
			if n := s.Connections + s.Pending; n > 0 {
				counts[s.PID] += n
			}
		}
	}
	return counts
}

// realCounts are what the kernel has, by process; under 0 those of nobody.
func realCounts(ports []uint16, groups []group) (map[int]int, error) {
	owner := make(map[uint32]int)
	for _, g := range groups {
		for _, s := range g.Slots {
			for _, inode := range socketsOf(s.PID) {
				owner[inode] = s.PID
			}
		}
	}
	counts := make(map[int]int)
	for _, port := range ports {
		found, err := sockets.Connections(sockets.Address{Port: port})
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			if c.Local.Port() == port {
				counts[owner[c.Inode]]++
			}
		}
	}
	return counts, nil
}

// socketsOf are those of a process, by inode; none if it has ended.
func socketsOf(pid int) (inodes []uint32) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		link, err := os.Readlink(folder + "/" + entry.Name())
		var inode uint32
		if err != nil {
			continue
		}
		if _, err := fmt.Sscanf(link, "socket:[%d]", &inode); err == nil {
			inodes = append(inodes, inode)
		}
	}
	return inodes
}

func describe(counts map[int]int) string {
	text := ""
	for _, pid := range slices.Sorted(maps.Keys(counts)) {
		text += fmt.Sprintf(", %d for process %d", counts[pid], pid)
	}
	if text == "" {
		return "none"
	}
	return text[2:]
}

// awaitNone wants all counts to be 0 after the last connection has ended.
func (s *suite) awaitNone(x subject) error {
	own := x.own()
	var groups []group
	var real map[int]int
	for deadline := time.Now().Add(s.slow(quietWithin)); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var err error
		if groups, err = s.groupsOn(own.ports()); err != nil {
			return err
		}
		if real, err = realCounts(own.ports(), groups); err != nil {
			return err
		}
		if len(real) == 0 && len(statusCounts(groups)) == 0 {
			return nil
		}
	}
	return fmt.Errorf("the load has ended, and %v later status has %s, and sock_diag %s: %+v%s",
		quietWithin, describe(statusCounts(groups)), describe(real), groups, whoIsThere(own.ports()))
}

// whoIsThere tells of each connection, and who has the other end of it.
func whoIsThere(ports []uint16) (text string) {
	for _, port := range ports {
		found, err := sockets.Connections(sockets.Address{Port: port})
		if err != nil {
			return "; " + err.Error()
		}
		for _, c := range found {
			text += fmt.Sprintf("; %v from %v, %v, whose other end is with %s", c.Local, c.Remote, c.State, clientOf(c))
		}
	}
	return text
}

func clientOf(c sockets.Connection) string {
	found, err := sockets.Connections(sockets.Address{Port: c.Remote.Port()})
	if err != nil {
		return err.Error()
	}
	for _, other := range found {
		if other.Local == c.Remote || other.Local.Port() == c.Remote.Port() && other.Remote.Port() == c.Local.Port() {
			holders, _ := sockets.Holders([]uint32{other.Inode})
			return fmt.Sprintf("%v (%v)", holders[other.Inode], other.State)
		}
	}
	return "nobody"
}
