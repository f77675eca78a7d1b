//go:build !(amd64 || arm64 || loong64 || mips64 || mips64le || ppc64 || ppc64le || riscv64 || s390x)

package worker

import "sync/atomic"

func store(word *int64, n int64) { atomic.StoreInt64(word, n) }
