package control

import (
	"fmt"
	"math"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
)

// affinity returns the CPUs that this process may run on, in order.
func affinity() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read this process's CPUs: %w", err)
	}
	var cpus []int
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// AutoWorkers returns how many workers this process can keep busy: the CPUs
// that it may run on, or as many as its cgroups leave it time for if that is
// less, rounded up. It is from 1 to [MaxWorkers].
func AutoWorkers() (int, error) {
	cpus, err := affinity()
	if err != nil {
		return 0, err
	}
	quota, limited, err := cgroup.CPUs()
	if err != nil {
		return 0, err
	}
	if !limited {
		quota = math.Inf(1)
	}
	return workersFor(len(cpus), quota), nil
}

func workersFor(cpus int, quota float64) int {
	n := math.Min(float64(cpus), math.Ceil(quota))
	return int(math.Max(1, math.Min(n, MaxWorkers)))
}

// onCPU calls f on a thread that may run on one CPU only, as then does every
// process that f starts, from its first instruction on.
func onCPU(cpu int, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		var before, one unix.CPUSet
		one.Set(cpu)
		if err := unix.SchedGetaffinity(0, &before); err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("read this thread's CPUs: %w", err)
			return
		}
		err := unix.SchedSetaffinity(0, &one)
		if err != nil {
			err = fmt.Errorf("pin to CPU %d: %w", cpu, err)
		} else {
			err = f()
		}
		// A thread that stays pinned ends with its goroutine.
		if unix.SchedSetaffinity(0, &before) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}
