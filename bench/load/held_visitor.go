package load

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A visitor is the connection of a visit.
type visitor struct {
	fd    int
	stage stage
	pid   int // of the worker that holds it
	sent  bool
	got   []byte
	since time.Duration // of the attempt, or the pause
	lost  time.Duration // when it was served before, and lost; else 0
	from  int           // by whom
}

type stage uint8

const (
	away    stage = iota // not come yet, or gone
	pausing              // waits to try again
	asking               // an attempt is under way
	served
)

const upgrade = "GET /stream HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: bench\r\n\r\n"

// attempt tries to get in.
func (r *holding) attempt(visit int32) {
	v := &r.visitors[visit]
	v.stage, v.since, v.sent, v.got = asking, r.now, false, v.got[:0]
	r.asked = append(r.asked, attempt{visit, r.now})
	var err error
	if v.fd, err = connect(r.server, r.family, r.spread); err == nil {
		err = r.enter(visit)
	}
	if err != nil {
		r.refused(visit, err)
	}
}

// enter sends the request, and has the connection watched.
func (r *holding) enter(visit int32) error {
	v := &r.visitors[visit]
	if err := v.ask(); err != nil {
		return err
	}
	events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP)
	if !v.sent {
		events |= unix.EPOLLOUT
	}
	return r.add(v.fd, visit, events)
}

func (v *visitor) ask() error {
	n, err := unix.SendmsgN(v.fd, []byte(upgrade), nil, nil, unix.MSG_NOSIGNAL)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return failure(err)
	case n < len(upgrade):
		return failure(io.ErrShortWrite)
	}
	v.sent = true
	return nil
}

// refused has it try again later.
func (r *holding) refused(visit int32, err error) {
	r.failed(err)
	v := &r.visitors[visit]
	v.end()
	v.stage, v.since = pausing, r.now
	r.again = append(r.again, visit)
}

// retry has those try again that have waited for long enough.
func (r *holding) retry() {
	for len(r.again) > 0 && r.visitors[r.again[0]].since+retry <= r.now {
		visit := r.again[0]
		r.again = r.again[1:]
		if r.visitors[visit].stage == pausing {
			r.attempt(visit)
		}
	}
}

// expire ends attempts that take too long.
func (r *holding) expire() {
	for len(r.asked) > 0 && r.asked[0].since+r.Timeout <= r.now {
		old := r.asked[0]
		r.asked = r.asked[1:]
		if v := &r.visitors[old.visit]; v.stage == asking && v.since == old.since {
			r.refused(old.visit, ErrTimeout)
		}
	}
}

// ready takes what came on a connection.
func (r *holding) ready(visit int32) {
	v := &r.visitors[visit]
	if v.fd < 0 {
		return
	}
	if v.stage == asking && !v.sent {
		if err := v.ask(); err != nil {
			r.refused(visit, err)
			return
		}
	}
	for v.fd >= 0 {
		n, err := unix.Read(v.fd, r.in)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
		case err != nil:
			r.broken(visit, failure(err))
			return
		case n == 0:
			r.broken(visit, ErrReset)
			return
		case v.stage == asking:
			r.told(visit, r.in[:n])
		}
	}
}

// told takes a part of the answer.
func (r *holding) told(visit int32, text []byte) {
	v := &r.visitors[visit]
	v.got = append(v.got, text...)
	pid, whole, err := parseUpgrade(v.got)
	if err != nil {
		r.refused(visit, err)
		return
	}
	if !whole {
		return
	}
	v.stage, v.pid, v.got = served, pid, nil
	r.Waiting--
	r.HeldTally.Held[pid]++
	if v.lost == 0 {
		r.Served++
		Record(r.Latency, r.now-r.Visits[visit].At)
		return
	}
	r.Returns = append(r.Returns, Return{Lost: v.lost, Back: r.now, From: v.from, To: pid})
}

// parseUpgrade reads the answer to an upgrade as far as it has come. An error
// wraps ErrWrong.
func parseUpgrade(b []byte) (pid int, whole bool, err error) {
	head, body, found := bytes.Cut(b, []byte("\r\n\r\n"))
	if !found && len(b) <= maxAnswer {
		return 0, false, nil
	}
	if !found || len(head) < 12 || string(head[9:12]) != "101" {
		return 0, false, wrong("not upgraded", b)
	}
	line, _, found := bytes.Cut(body, []byte("\n"))
	if !found {
		return 0, false, nil
	}
	if pid, err = strconv.Atoi(string(line)); err != nil || pid <= 0 {
		return 0, false, wrong("no process ID", line)
	}
	return pid, true, nil
}

// broken is the end of a connection by the other side.
func (r *holding) broken(visit int32, err error) {
	v := &r.visitors[visit]
	if v.stage == asking {
		r.refused(visit, err)
		return
	}
	r.Lost++
	v.lost, v.from = r.now, v.pid
	r.close(visit)
	if r.Return {
		r.Waiting++
		r.attempt(visit)
	}
}

// close ends a visit, wherever it is.
func (r *holding) close(visit int32) {
	v := &r.visitors[visit]
	switch v.stage {
	case served:
		r.HeldTally.Held[v.pid]--
	case asking, pausing:
		r.Waiting--
	}
	v.stage = away
	v.end()
}

func (v *visitor) end() {
	if v.fd >= 0 {
		unix.Close(v.fd)
	}
	v.fd = -1
}
