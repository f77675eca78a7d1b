package ledger

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// loop is one thread that serves all connections of a load through one epoll.
// Thousands of goroutines would cost the servers under test their processors.
type loop struct {
	counters
	alarm
	load     Load
	book     *Book
	epoll    int
	arrivals *arrivals
	held     heldPlan
	open     map[int32]*conn
	number   uint64
	// answers and ends are the waits for an answer, and for the server's end
	// of a connection that was answered; each in the order of their deadlines.
	answers, ends waits
}

// batch bounds how many connections are opened before the others get a turn.
const batch = 32

// endWithin is how long the server may take to close after its answer. What
// comes meanwhile is one answer too many.
const endWithin = time.Second

func newLoop(load Load) (*loop, error) {
	l := &loop{load: load, number: load.First, open: make(map[int32]*conn)}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make an epoll: %w", err)
	}
	if err := l.alarm.open(); err != nil {
		unix.Close(l.epoll)
		return nil, err
	}
	for _, fd := range []int{l.timer, l.bell} {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			l.closeAll()
			return nil, fmt.Errorf("watch a timer: %w", err)
		}
	}
	begin := Now()
	l.book = &Book{Load: load, Begin: begin}
	l.arrivals = newArrivals(load, begin)
	l.held = newHeldPlan(load, begin)
	return l, nil
}

func (l *loop) closeAll() {
	l.alarm.close()
	unix.Close(l.epoll)
}

func (l *loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer hurry()()
	defer l.closeAll()

	events := make([]unix.EpollEvent, 256)
	for {
		now := Now()
		l.expire(now)
		l.openDue(now)
		if l.isOver(now) {
			break
		}
		l.set(l.nextDue())
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			l.giveUp(err)
			break
		}
		// An fd comes once in a batch, so none here belongs to a later connection.
		for _, event := range events[:max(n, 0)] {
			if c := l.open[event.Fd]; c != nil {
				l.proceed(c)
			}
		}
	}
	l.book.End = Now()
}

// hurry has the calling thread go before the servers: clients elsewhere wouldn't
// wait for their processors. Without the privilege it goes on as it is, and says
// so when it is late. The function that it returns takes it back. (The thread
// mustn't end instead: children that it has started may die with it.)
func hurry() (unhurry func()) {
	thread := unix.Gettid()
	before, err := unix.Getpriority(unix.PRIO_PROCESS, thread)
	if err != nil || unix.Setpriority(unix.PRIO_PROCESS, thread, -10) != nil {
		return func() {}
	}
	// The kernel returns 20 less the nice value that it takes.
	return func() { _ = unix.Setpriority(unix.PRIO_PROCESS, thread, 20-before) }
}

// isOver winds up when no more is to be opened, and is true when all has ended.
func (l *loop) isOver(now Moment) bool {
	if l.stopping.Load() {
		l.arrivals.stop()
	}
	if !l.arrivals.over() || l.held.goesOn(l, now) {
		return false
	}
	l.endHeld()
	return len(l.open) == 0
}

func (l *loop) openDue(now Moment) {
	for range batch {
		due, ok := l.arrivals.take(now)
		if !ok {
			break
		}
		l.connect(due, false)
	}
	l.speak(now)
}

// nextDue is when the loop has to look again, if nothing else happens.
func (l *loop) nextDue() Moment {
	next := Now().Add(time.Second)
	if !l.arrivals.over() {
		next = min(next, l.arrivals.next)
	} else if l.arrivals.end > 0 && len(l.held.plan) > 0 {
		next = min(next, l.arrivals.end)
	}
	for _, w := range []*waits{&l.answers, &l.ends} {
		if at, ok := w.first(); ok {
			next = min(next, at)
		}
	}
	return min(next, l.held.first(next))
}

// expire ends what has waited too long.
func (l *loop) expire(now Moment) {
	for c := l.answers.expired(now); c != nil; c = l.answers.expired(now) {
		l.end(c, TimedOut, fmt.Errorf("no answer within %v", l.load.Timeout))
	}
	for c := l.ends.expired(now); c != nil; c = l.ends.expired(now) {
		l.end(c, Answered, nil) // a server may keep its end open
	}
}

// giveUp is for an epoll that doesn't work: no reason is known.
func (l *loop) giveUp(err error) {
	l.book.UnopenedErr = fmt.Errorf("wait for connections: %w", err)
	for _, c := range l.open {
		l.book.Unopened++
		unix.Close(c.fd)
	}
}

// waits are connections in the order of their deadlines.
type waits struct{ queue []wait }

type wait struct {
	conn     *conn
	serial   int // of the state that it is for
	deadline Moment
}

func (w *waits) add(c *conn, deadline Moment) {
	w.queue = append(w.queue, wait{c, c.serial, deadline})
}

// first drops waits that are over and returns the first deadline of the others.
func (w *waits) first() (Moment, bool) {
	for len(w.queue) > 0 && w.queue[0].conn.serial != w.queue[0].serial {
		w.queue = w.queue[1:]
	}
	if len(w.queue) == 0 {
		w.queue = nil
		return 0, false
	}
	return w.queue[0].deadline, true
}

func (w *waits) expired(now Moment) *conn {
	if deadline, ok := w.first(); !ok || deadline > now {
		return nil
	}
	c := w.queue[0].conn
	w.queue = w.queue[1:]
	return c
}
