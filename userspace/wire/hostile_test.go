package wire

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
)

// Clients that close at each step, all at once, while a good one is served.
func TestClientsThatCloseAtEachStep(t *testing.T) {
	noLeaks(t)
	path := serveWith(t, plain, handler{
		answer: func(_ *Peer, _ Request, say func(string)) Reply { say("hm"); return Reply{} },
		join: func(s *Session, _ Request, files []*os.File) {
			closeAll(files)
			for s.Reply(Reply{Done: true, Seat: &Seat{}}) == nil {
				_, files, err := s.Receive()
				closeAll(files)
				if err != nil {
					return
				}
			}
		},
	})
	_, file := listener(t)
	steps := []func(*Conn) error{
		func(*Conn) error { return nil },
		func(c *Conn) error { return c.Send(Request{Verb: Ping}) },
		func(c *Conn) error { return c.Send(Request{Verb: Ping}, file) },
		func(c *Conn) error { _, err := c.conn.Write([]byte(`{"version":1,"ve`)); return err },
		func(c *Conn) error { return c.Send(Request{Verb: JoinGroup}, file) },
		func(c *Conn) error { _, err := ask(c, Request{Verb: JoinGroup}, file); return err },
		func(c *Conn) error {
			_, err := ask(c, Request{Verb: JoinGroup}, file)
			if err == nil {
				err = c.Send(Request{Verb: Drain}, file, file)
			}
			return err
		},
		func(c *Conn) error { return c.conn.CloseWrite() },
		func(c *Conn) error { return c.conn.CloseRead() },
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 100 {
				conn, err := Dial(ctx, path)
				if err != nil {
					t.Error(err)
					return
				}
				_ = steps[rand.IntN(len(steps))](conn)
				conn.Close()
			}
		})
	}
	for range 50 {
		if err := Call(ctx, path, Request{Verb: Ping}, nil); err != nil {
			t.Error(err)
		}
	}
	clients.Wait()
}
