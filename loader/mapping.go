package loader

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A mapping is the one value of an array map, shared with the programs. It
// stays until nothing refers to it any more.
type mapping[T any] struct {
	value *T
}

func mapValue[T any](m *ebpf.Map) (*mapping[T], error) {
	var t T
	if uintptr(m.ValueSize()) != unsafe.Sizeof(t) {
		return nil, fmt.Errorf("map %s: layout of another version: %w", m, unix.EPROTO)
	}
	page := os.Getpagesize()
	size := (int(m.ValueSize()) + page - 1) / page * page
	bytes, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s into memory: %w", m, err)
	}
	shared := &mapping[T]{value: (*T)(unsafe.Pointer(&bytes[0]))}
	runtime.AddCleanup(shared, func(b []byte) { _ = unix.Munmap(b) }, bytes)
	return shared, nil
}
