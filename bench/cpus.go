package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// enough CPUs are those with which clients and servers get some of their own.
const enough = 4

// cpus is who may use which. Without enough of them all is shared, and both are nil.
type cpus struct {
	clients, servers *unix.CPUSet
}

// apart gives this process, which is the load generator, a quarter of the CPUs
// that it may use, and leaves the others to servers.
func apart() (c cpus, err error) {
	var mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		return c, err
	}
	all := members(&mine)
	if len(all) < enough {
		return c, nil
	}
	c = cpus{new(unix.CPUSet), new(unix.CPUSet)}
	for i, cpu := range all {
		if i < len(all)/4 {
			c.clients.Set(cpu)
		} else {
			c.servers.Set(cpu)
		}
	}
	return c, moveSelf(c.clients)
}

func members(set *unix.CPUSet) (all []int) {
	for cpu := range 64 * len(set) {
		if set.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	return all
}

// moveSelf moves every thread that there is; new ones come where their parents are.
func moveSelf(set *unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, set); err != nil && err != unix.ESRCH {
			return fmt.Errorf("move the clients to CPUs of their own: %w", err)
		}
	}
	return nil
}

// listed is a set as people write it: 0,1,2; "" is all.
func listed(set *unix.CPUSet) string {
	if set == nil {
		return ""
	}
	var parts []string
	for _, cpu := range members(set) {
		parts = append(parts, strconv.Itoa(cpu))
	}
	return strings.Join(parts, ",")
}
