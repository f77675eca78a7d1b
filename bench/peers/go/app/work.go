// Package app is what all Go contenders serve, whatever accepts for them:
//
//	GET /            the process ID and a newline
//	GET /work?us=N   the same, after the process served nobody for N µs
//
// At SIGUSR2 a process gets half as fast: N counts twice, four times, …
package app

import (
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Answer is the body of every response.
var Answer = fmt.Appendf(nil, "%d\n", os.Getpid())

// Work is the core that a worker would have: one request has it at a time.
type Work struct {
	busy   sync.Mutex
	factor atomic.Int64
}

// NewWork listens for SIGUSR2 as long as the process lives.
func NewWork() *Work {
	w := new(Work)
	w.factor.Store(1)
	slower := make(chan os.Signal, 8)
	signal.Notify(slower, syscall.SIGUSR2)
	go func() {
		for range slower {
			w.factor.Store(w.factor.Load() * 2)
		}
	}()
	return w
}

// Do keeps the worker from everything else, for a number of microseconds that
// may have decimals; "" is 0. The error is one of the client's.
func (w *Work) Do(microseconds string) error {
	d, err := Parse(microseconds)
	if err != nil {
		return err
	}
	w.busy.Lock()
	defer w.busy.Unlock()
	w.Sleep(d)
	return nil
}

// Sleep is for who serves one at a time anyway. It isn't time.Sleep, which has
// the precision of the scheduler's poll: a millisecond.
func (w *Work) Sleep(d time.Duration) {
	if d == 0 {
		return
	}
	left := unix.NsecToTimespec(int64(d) * w.factor.Load())
	for unix.Nanosleep(&left, &left) == unix.EINTR {
	}
}

// longest is that of any work; a day is no test.
const longest = 24 * time.Hour

func Parse(microseconds string) (time.Duration, error) {
	if microseconds == "" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(microseconds, 64)
	if err != nil || !(n >= 0 && n <= float64(longest/time.Microsecond)) {
		return 0, fmt.Errorf("us=%q: must be a number of microseconds, at most a day's", microseconds)
	}
	return time.Duration(math.Round(n * 1000)), nil
}
