package control

import (
	"errors"
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWorkersFor(t *testing.T) {
	for _, c := range []struct {
		cpus  int
		quota float64
		want  int
	}{
		{8, math.Inf(1), 8},
		{8, 2.5, 3},
		{8, 0.2, 1},
		{2, 6, 2},
		{8, 8, 8},
		{512, math.Inf(1), MaxWorkers},
		{0, math.Inf(1), 1},
	} {
		if got := workersFor(c.cpus, c.quota); got != c.want {
			t.Errorf("%d CPUs, quota %v: got %d, want %d", c.cpus, c.quota, got, c.want)
		}
	}
}

func TestAutoWorkers(t *testing.T) {
	cpus, err := affinity()
	if err != nil {
		t.Fatal(err)
	}
	n, err := AutoWorkers()
	if err != nil || n < 1 || n > len(cpus) {
		t.Errorf("got %d, %v, of %d CPUs", n, err, len(cpus))
	}
}

func TestOnCPU(t *testing.T) {
	cpus, err := affinity()
	if err != nil {
		t.Fatal(err)
	}
	for _, cpu := range cpus {
		err := onCPU(cpu, func() error {
			var set unix.CPUSet
			if err := unix.SchedGetaffinity(0, &set); err != nil {
				return err
			}
			if set.Count() != 1 || !set.IsSet(cpu) {
				t.Errorf("runs on %d CPUs", set.Count())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if after, err := affinity(); err != nil || len(after) != len(cpus) {
		t.Errorf("CPUs are %v afterwards, %v, were %v", after, err, cpus)
	}
	if err := onCPU(1023, func() error { return nil }); !errors.Is(err, unix.EINVAL) {
		t.Errorf("pinned to a CPU that isn't there: %v", err)
	}
}
