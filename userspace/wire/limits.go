package wire

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits say how much of a server its clients may have. Each has a default, which
// is taken for 0. Root, and the user that the server runs as, have places of
// their own, as many as all others together, and no share of them is too large.
type Limits struct {
	// Clients with one request are served at once; default 128, and 32 of one user.
	// One that begins a session is among them until it has joined.
	Clients, ClientsPerUser int
	// Sessions there are at once; default 4096 (fewer if this process may have
	// few descriptors), and 1024 of one user.
	Sessions, SessionsPerUser int
	// Rate is how many connections a second a user may begin; default 500.
	// As many again may come at once after a quiet time.
	Rate int
	// Patience is how long a client has to send its request or to take a reply;
	// default 5 s.
	Patience time.Duration
}

func (l *Limits) complete() {
	sessions := 4096
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		sessions = int(min(uint64(sessions), files.Cur/16)) // each brings some along
	}
	for _, limit := range []struct {
		is       *int
		standard int
	}{
		{&l.Clients, 128}, {&l.ClientsPerUser, 32}, {&l.Sessions, sessions}, {&l.SessionsPerUser, 1024}, {&l.Rate, 500},
	} {
		if *limit.is == 0 {
			*limit.is = limit.standard
		}
	}
	if l.Patience == 0 {
		l.Patience = 5 * time.Second
	}
}

// kind of a place.
type kind int

const (
	client kind = iota
	session
	kinds
)

// house counts who is in.
type house struct {
	limits Limits
	owner  uint32 // its places are apart, as are root's

	mu    sync.Mutex
	all   [kinds]int // of those who have no places of their own
	users map[uint32]*guest
}

// guest is what one user has.
type guest struct {
	in     [kinds]int
	tokens float64
	since  time.Time
}

func newHouse(l Limits, owner uint32) *house {
	return &house{limits: l, owner: owner, users: make(map[uint32]*guest)}
}

func (h *house) host(uid uint32) bool { return uid == 0 || uid == h.owner }

// knock asks whether the user may connect once more, by its rate.
func (h *house) knock(uid uint32, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.host(uid) {
		return true
	}
	g := h.guest(uid, now)
	if g.tokens < 1 {
		return false
	}
	g.tokens--
	return true
}

// enter takes a place for the user, unless there is none.
func (h *house) enter(uid uint32, k kind) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	all, each := h.limits.Clients, h.limits.ClientsPerUser
	if k == session {
		all, each = h.limits.Sessions, h.limits.SessionsPerUser
	}
	g := h.guest(uid, time.Now())
	if h.host(uid) {
		each = all
	} else if h.all[k] >= all {
		return false
	}
	if g.in[k] >= each {
		return false
	}
	g.in[k]++
	if !h.host(uid) {
		h.all[k]++
	}
	return true
}

func (h *house) leave(uid uint32, k kind) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users[uid].in[k]--
	if !h.host(uid) {
		h.all[k]--
	}
}

// manyUsers are as many as are kept though nothing is known of them that matters.
const manyUsers = 1024

// guest returns what there is of a user, by now.
func (h *house) guest(uid uint32, now time.Time) *guest {
	full := float64(h.limits.Rate)
	g, known := h.users[uid]
	if !known {
		if len(h.users) >= manyUsers {
			h.sweep(now)
		}
		g = &guest{tokens: full, since: now}
		h.users[uid] = g
	}
	g.tokens = min(full, g.tokens+full*now.Sub(g.since).Seconds())
	g.since = now
	return g
}

// sweep forgets users that would be the same if they came anew.
func (h *house) sweep(now time.Time) {
	for uid, g := range h.users {
		if g.in == [kinds]int{} && now.Sub(g.since) > time.Second {
			delete(h.users, uid)
		}
	}
}
