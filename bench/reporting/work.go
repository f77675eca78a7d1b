package main

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A service answers requests, each of which says what it costs.
type service struct {
	name  string // of the worker, which is all that it answers
	slow  float64
	loops int // of work in a microsecond; 0: a core made of sleep

	// core is what a worker has one of. A waiting goroutine is not overtaken for
	// longer than a millisecond, so this is a queue, nearly.
	core sync.Mutex
}

func newService() (*service, error) {
	s := &service{name: os.Getenv("SOCKDIST_SLOT"), slow: 1}
	if s.name == "" {
		return nil, fmt.Errorf("no SOCKDIST_SLOT: this worker isn't one of sockdist run")
	}
	var err error
	if s.loops, err = strconv.Atoi(os.Getenv(loopsVariable)); err != nil {
		return nil, fmt.Errorf("%s: %w", loopsVariable, err)
	}
	if text := os.Getenv(slowVariable); text != "" && s.name == "0" {
		if s.slow, err = strconv.ParseFloat(text, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", slowVariable, err)
		}
	}
	return s, nil
}

// ServeHTTP takes the path for the cost, in microseconds.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	micros, err := strconv.ParseFloat(r.URL.Path[1:], 64)
	if err != nil || micros < 0 || math.IsInf(micros, 0) {
		http.Error(w, "the path is the cost in microseconds", http.StatusBadRequest)
		return
	}
	s.work(micros * s.slow)
	_, _ = w.Write([]byte(s.name))
}

func (s *service) work(micros float64) {
	if s.loops > 0 {
		burn(int(micros * float64(s.loops)))
		return
	}
	s.core.Lock()
	defer s.core.Unlock()
	length := unix.NsecToTimespec(int64(micros * 1e3))
	_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &length, nil) // Go's own timers are less exact
}

var burnt atomic.Uint64

// burn is work that takes a core for as long as it has to.
func burn(loops int) {
	x := uint64(loops) | 1
	for range loops {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	burnt.Store(x)
}

// calibrate counts the loops of a microsecond of an idle core: the best of many
// short tries.
func calibrate() int {
	const loops = 1 << 17
	best := time.Hour
	for range 200 {
		begin := time.Now()
		burn(loops)
		best = min(best, time.Since(begin))
	}
	return max(1, int(loops*int64(time.Microsecond)/int64(best)))
}
