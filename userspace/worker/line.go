package worker

import (
	"sync/atomic"
	"unsafe"
)

// slots is how many a group has.
const slots = 256

// A line is a worker's own cache line of its group's loads: struct load of
// bpf/abi.h. Only the library of the worker in that slot writes to it; steer reads
// the first word at its picks, and whoever is in the group may read all.
type line struct {
	load     int64  // below 0 counts as 0
	beat     uint64 // rises while the worker gets on; 0: no heartbeat
	requests uint64 // finished since it listens
	_        [4]uint64
	mark     uint64 // tells whether two mappings are the same memory
}

// lines are a group's loads: struct loads.
type lines [slots]line

const linesSize = int(unsafe.Sizeof(lines{}))

// newLine returns a line that nobody but this process sees. Two, because
// processors fetch cache lines in pairs; and an object of 128 bytes on the heap begins
// at a multiple of it.
//
//go:noinline
func newLine() *line { return &new([2]line)[0] }

// retired is in the load of a line that the worker has left: so low that nothing
// which is added later raises it above retiredBelow. The kernel takes it for 0.
const (
	retired      = -1 << 62
	retiredBelow = -1 << 61
)

// retire takes the load out of the line.
func (p *line) retire() int64 { return atomic.SwapInt64(&p.load, retired) }

// limbo is a line that is always retired.
var limbo = line{load: retired}
