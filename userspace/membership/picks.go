package membership

import (
	"time"

	"github.com/sockdist/sockdist/loader"
)

const (
	// unpicked is how many connections have to come in a row without a pick. A few
	// do whose pick was at an earlier look.
	unpicked = 8
	// steerEvery bounds how often the program is attached again.
	steerEvery = time.Second
)

// picks compares connections with picks. Any process that has a listener of the
// group can take the program off, and the kernel tells nobody: then connections
// come, and the picks stand still.
type picks struct {
	last    map[int]loader.Progress
	came    uint64 // since the last pick
	steered time.Duration
}

// areMissing tells whether the program has to be attached again.
func (p *picks) areMissing(now time.Duration, slots []loader.Progress) bool {
	if p.last == nil {
		p.last = make(map[int]loader.Progress)
	}
	came, picked := uint64(0), false
	for _, slot := range slots {
		last, known := p.last[slot.Slot]
		p.last[slot.Slot] = slot
		if !known || last.Cookie != slot.Cookie {
			continue
		}
		picked = picked || slot.Picks != last.Picks
		if opened, migrated := slot.Opened-last.Opened, slot.Migrated-last.Migrated; int64(opened-migrated) > 0 {
			came += opened - migrated
		}
	}
	p.came += came
	if picked {
		p.came = 0
	}
	if p.came < unpicked || now-p.steered < steerEvery {
		return false
	}
	p.came, p.steered = 0, now
	return true
}
