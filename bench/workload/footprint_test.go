package workload

import (
	"os"
	"testing"
	"time"
)

func TestFootprint(t *testing.T) {
	me := []int{os.Getpid()}
	before := footprintOf(me)
	for range 20 {
		time.Sleep(time.Millisecond)
	}
	// Others may have the CPUs: so long that it had them.
	for deadline := time.Now().Add(time.Minute); footprintOf(me).since(before).cpu < 20*time.Millisecond && time.Now().Before(deadline); {
	}
	total := footprintOf(me).since(before)
	if total.cpu < 5*time.Millisecond || total.cpu > 5*time.Second || total.wakes < 10 {
		t.Errorf("%v, %d wake-ups", total.cpu, total.wakes)
	}
	if memory := proportional(me); memory < 1<<20 || memory > 1<<32 {
		t.Errorf("memory of %d bytes", memory)
	}
}

func TestFootprintOfThoseInBoth(t *testing.T) {
	before := footprint{1: {time.Second, 5}, 2: {time.Second, 5}}
	after := footprint{1: {3 * time.Second, 9}, 3: {time.Hour, 1000}}
	if total := after.since(before); total.cpu != 2*time.Second || total.wakes != 4 {
		t.Errorf("%+v", total)
	}
	if gone := footprintOf([]int{1<<22 + 5}); len(gone) != 0 {
		t.Errorf("%v", gone)
	}
}
