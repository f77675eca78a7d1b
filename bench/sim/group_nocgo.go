//go:build !cgo

package sim

func newGroup(uint32, []int, bool) (chooser, error) { return nil, ErrNoCompiler }
