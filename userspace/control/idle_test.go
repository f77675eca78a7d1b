package control_test

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/controltest"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// sleeps waits until there are many glances at the app's memory without a look.
func (a *app) sleeps() {
	a.t.Helper()
	looks, glances := a.kernel.Looked()
	a.until("10 glances without a look", func() bool {
		nowLooks, nowGlances := a.kernel.Looked()
		if nowLooks != looks {
			looks, glances = nowLooks, nowGlances
		}
		return nowGlances >= glances+10
	})
}

// Nobody looks at an app in which nothing happens. A connection ends that, and
// when nobody waits for it any more it is so again.
func TestIdleAppIsNotLookedAt(t *testing.T) {
	address := freeAddress(t)
	a := start(t, control.Config{Command: []string{"test", "serve", address}, Workers: 2, HangAfter: control.DefaultHangAfter}, new(controltest.Kernel))
	a.serving(address, 2)
	a.sleeps()
	for n := range uint64(3) {
		before, _ := a.kernel.Looked()
		a.kernel.SetOpened(1, n+1)
		a.until("a look", func() bool { now, _ := a.kernel.Looked(); return now > before })
		a.sleeps()
	}
}

// After a long idle spell a worker that hangs is found by as many looks as ever.
func TestHangAfterIdleSpell(t *testing.T) {
	address := freeAddress(t)
	a := start(t, control.Config{Command: []string{"test", "serve", address}, Workers: 3, HangAfter: control.DefaultHangAfter, OnHang: control.EjectHung}, new(controltest.Kernel))
	a.serving(address, 3)
	a.sleeps()
	stopped := a.pids()[1]
	if err := unix.Kill(stopped, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer unix.Kill(stopped, unix.SIGCONT)
	waiting := connectTo(t, address, cookieIn(a, 1))
	a.kernel.SetOpened(1, uint64(waiting))
	looks := a.looksUntil("ejected", func() bool { return slices.Contains(a.kernel.Notes(), "hold 1 hung") })
	// Five intervals have to go by, and one more where a look comes early.
	if looks > 8 {
		t.Errorf("it took %d looks", looks)
	}
	if err := unix.Kill(stopped, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	a.until("it is back", func() bool { return slices.Contains(a.kernel.Notes(), "unhold 1 hung") })
	a.sleeps()
}

// looksUntil counts the looks that something takes. Where the whole process
// had to pause they begin anew, as a worker can't be blamed for that time.
func (a *app) looksUntil(what string, is func() bool) int {
	a.t.Helper()
	begin, _ := a.kernel.Looked()
	last, at := begin, time.Now()
	a.until(what, func() bool {
		if now, _ := a.kernel.Looked(); now != last {
			if time.Since(at) > control.DefaultHangAfter/2 {
				begin = last
			}
			last, at = now, time.Now()
		}
		return is()
	})
	return last - begin
}

func cookieIn(a *app, slot int) uint64 {
	a.t.Helper()
	for seat, listener := range a.kernel.Seats() {
		if seat.Slot == slot {
			return listener.Cookie
		}
	}
	a.t.Fatalf("nobody is in slot %d", slot)
	return 0
}

// connectTo connects until somebody waits at a listener, and returns how many do.
func connectTo(t *testing.T, address string, cookie uint64) (waiting uint32) {
	t.Helper()
	for range 200 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		backlogs, err := sockets.Backlogs(portOf(t, address))
		if err != nil {
			t.Fatal(err)
		}
		if waiting = backlogs[cookie]; waiting > 0 {
			return waiting
		}
	}
	t.Fatal(fmt.Errorf("nobody of 200 came to the listener %d", cookie))
	return 0
}
