package wire

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"
)

// long is more than any of these tests lasts.
const long = 5 * time.Minute

// joining keeps its workers until they go.
var joining = handler{join: func(s *Session, _ Request, _ []*os.File) {
	if s.Reply(Reply{Done: true}) == nil {
		_, _, _ = s.Receive()
	}
}}

func wantServed(t *testing.T, uid int, path string) {
	t.Helper()
	conn := connectAs(t, uid, path)
	reply, err := ask(conn, Request{Verb: Ping})
	wantDone(t, reply, err)
	conn.Close()
}

func wantBusy(t *testing.T, uid int, path string) {
	t.Helper()
	conn := connectAs(t, uid, path)
	reply, _, err := conn.Receive()
	wantError(t, reply, err, "too many")
	if !reply.Busy {
		t.Errorf("reply %+v isn't busy", reply)
	}
	conn.Close()
}

// One user who connects and says nothing takes no other's place.
func TestSilentClients(t *testing.T) {
	noLeaks(t)
	path := serveOpen(t, Limits{Clients: 8, ClientsPerUser: 3, Patience: long}, handler{})
	var silent []*Conn
	for range 3 {
		silent = append(silent, connectAs(t, 70001, path))
	}
	wantBusy(t, 70001, path)
	wantServed(t, 70002, path)
	wantServed(t, 0, path)
	silent[0].Close()
	eventually(t, func() error {
		conn := connectAs(t, 70001, path)
		defer conn.Close()
		_, err := ask(conn, Request{Verb: Ping})
		return err
	})
	// Several users together leave root its places.
	for uid := 70003; uid < 70006; uid++ {
		for range 3 {
			connectAs(t, uid, path)
		}
	}
	wantBusy(t, 70009, path)
	wantServed(t, 0, path)
}

func TestSilentClientIsSentAway(t *testing.T) {
	noLeaks(t)
	path := serveOpen(t, Limits{ClientsPerUser: 1, Patience: 50 * time.Millisecond}, handler{})
	conn := connectAs(t, 70001, path)
	reply, _, err := conn.Receive()
	wantError(t, reply, err, "read the request")
	eventually(t, func() error {
		conn := connectAs(t, 70001, path)
		defer conn.Close()
		_, err := ask(conn, Request{Verb: Ping})
		return err
	})
}

// Workers stay for long, and take no operator's place, nor more than their own.
func TestSessionsHaveTheirOwnPlaces(t *testing.T) {
	noLeaks(t)
	path := serveOpen(t, Limits{Clients: 2, ClientsPerUser: 2, Sessions: 6, SessionsPerUser: 4}, joining)
	join := func(uid int) (*Conn, Reply) {
		conn := connectAs(t, uid, path)
		reply, err := ask(conn, Request{Verb: JoinGroup})
		if err != nil {
			t.Fatal(err)
		}
		return conn, reply
	}
	var first *Conn
	for range 4 {
		conn, reply := join(70001)
		wantDone(t, reply, nil)
		first = conn
	}
	_, reply := join(70001)
	wantError(t, reply, nil, "too many workers")
	if !reply.Busy {
		t.Errorf("reply %+v isn't busy", reply)
	}
	wantServed(t, 70001, path)
	for range 2 {
		_, reply := join(70002)
		wantDone(t, reply, nil)
	}
	_, reply = join(70003)
	wantError(t, reply, nil, "too many workers")
	_, reply = join(0)
	wantDone(t, reply, nil)
	first.Close()
	eventually(t, func() error {
		conn := connectAs(t, 70001, path)
		defer conn.Close()
		reply, err := ask(conn, Request{Verb: JoinGroup})
		if err == nil && reply.Error != "" {
			err = &Refusal{Text: reply.Error}
		}
		return err
	})
}

// A flood of one user, and others come through. Call tries again by itself.
func TestFlood(t *testing.T) {
	noLeaks(t)
	path := serveOpen(t, Limits{Rate: 20}, handler{})
	ctx, cancel := context.WithCancel(t.Context())
	var floods sync.WaitGroup
	refused := make(chan struct{}, 1)
	for range 4 {
		floods.Go(func() {
			as(t, 70001, 70001, nil, func() {
				for ctx.Err() == nil {
					conn, err := Dial(ctx, path)
					if err != nil {
						continue
					}
					if reply, err := ask(conn, Request{Verb: Ping}); err == nil && reply.Busy {
						select {
						case refused <- struct{}{}:
						default:
						}
					}
					conn.Close()
				}
			})
		})
	}
	<-refused
	for range 10 {
		as(t, 70002, 70002, nil, func() {
			if err := Call(t.Context(), path, Request{Verb: Ping}, nil); err != nil {
				t.Error(err)
			}
		})
		wantServed(t, 0, path)
	}
	cancel()
	floods.Wait()
}

func TestCallWaitsWhileBusy(t *testing.T) {
	noLeaks(t)
	path := serveOpen(t, Limits{ClientsPerUser: 1, Patience: long}, handler{})
	silent := connectAs(t, 70001, path)
	go func() {
		time.Sleep(2 * busyPause)
		silent.Close()
	}()
	as(t, 70001, 70001, nil, func() {
		if err := Call(t.Context(), path, Request{Verb: Ping}, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestRate(t *testing.T) {
	h := newHouse(Limits{Rate: 10}, 7)
	now := time.Now()
	knocks := func(uid uint32, now time.Time) (n int) {
		for range 100 {
			if h.knock(uid, now) {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		uid   uint32
		after time.Duration
		want  int
	}{{1, 0, 10}, {1, 0, 0}, {2, 0, 10}, {1, 500 * time.Millisecond, 5}, {1, time.Hour, 10}, {0, 0, 100}, {7, 0, 100}} {
		now = now.Add(step.after)
		if n := knocks(step.uid, now); n != step.want {
			t.Errorf("user %d after %v: %d may come, want %d", step.uid, step.after, n, step.want)
		}
	}
}

// Users by the thousand leave nothing behind, but for those who are in.
func TestManyUsers(t *testing.T) {
	var l Limits
	l.complete()
	h := newHouse(l, 0)
	if !h.enter(5, session) {
		t.Fatal("there is room")
	}
	now := time.Now()
	for uid := range uint32(10 * manyUsers) {
		now = now.Add(10 * time.Millisecond)
		h.knock(1000+uid, now)
	}
	if n := len(h.users); n > manyUsers {
		t.Errorf("%d users are remembered", n)
	}
	if h.users[5] == nil {
		t.Error("one who is in is forgotten")
	}
	h.leave(5, session)
}

// A client that reads nothing is waited for once.
func TestClientThatDoesNotRead(t *testing.T) {
	noLeaks(t)
	o := plain
	o.Limits.Patience = 50 * time.Millisecond
	said := make(chan int)
	path := serveWith(t, o, answering(func(_ Request, say func(string)) Reply {
		text := make([]byte, MaxMessage/8)
		for i := range text {
			text[i] = 'x'
		}
		for i := range 1000 {
			say(string(text))
			if i == 999 {
				said <- i
			}
		}
		return Reply{}
	}))
	conn := connect(t, path)
	if err := send(conn, Request{Version: Version, Verb: Reload}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-said: // 1000 times 50 ms would be less patient than this
	case <-time.After(40 * time.Second):
		t.Error("each line is waited for")
		<-said
	}
}
