package membership

import (
	"os"
	"testing"
	"time"

	"github.com/sockdist/sockdist/userspace/health"
)

// BenchmarkIdleLook is what the guard does at each look at 64 workers whose
// hearts beat and to whom nobody comes: five times in Config.HangAfter.
func BenchmarkIdleLook(b *testing.B) {
	w := newWorld(b)
	var all [][]*os.File
	for range 64 {
		_, _, files, err := w.join()
		w.must(err)
		all = append(all, files)
	}
	lines := mapLoads(all[0][1])
	w.config.HangAfter = time.Hour
	g := &guard{group: w.group}
	w.must(w.group.Change(w.config))
	g.begin()
	now := health.Now()
	for b.Loop() {
		for _, line := range lines[:64] {
			line[1]++
		}
		now += time.Millisecond
		g.lookNow(now)
	}
	b.StopTimer()
	g.forgetAll()
	for _, files := range all {
		closeAll(files)
	}
}

// BenchmarkIdleGlance is what the rounds do for a group in which nothing happens:
// two workers whose hearts beat, five times a second.
func BenchmarkIdleGlance(b *testing.B) {
	w := newWorld(b)
	var all [][]*os.File
	for range 2 {
		_, _, files, err := w.join()
		w.must(err)
		all = append(all, files)
	}
	lines := mapLoads(all[0][1])
	g := &guard{group: w.group}
	g.begin()
	for b.Loop() {
		lines[0][1]++
		lines[1][1]++
		if g.glance() && b.N > 2 {
			b.Fatal("something has happened")
		}
	}
	b.StopTimer()
	for _, files := range all {
		closeAll(files)
	}
}
