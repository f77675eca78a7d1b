//go:build amd64 || arm64 || loong64 || mips64 || mips64le || ppc64 || ppc64le || riscv64 || s390x

package worker

// store writes a word in one piece, as these processors do with every aligned
// one, and without the fence of sync/atomic, which on amd64 costs more than all
// the rest. The race detector can't know that; [Load.Set] says why it is right.
//
//go:norace
func store(word *int64, n int64) { *word = n }
