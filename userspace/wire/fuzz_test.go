package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var samples = []string{
	`{"version":1,"verb":"ping"}`,
	`{"version":1,"verb":"scale","workers":3,"app":"web"}`,
	`{"version":1,"verb":"join","join":{"group":"api"}}`,
	`{"version":1,"verb":"join","join":{"network":"tcp","address":":8080"}}`,
	`{"version":1,"verb":"drain"}`,
	`{"version":2,"verb":{"all":"new"}}`,
	`{"version":1,"join":[]}`,
	`{"version":1e400}`,
	`{"version":1`,
	`[]`, `null`, "\x00\xff", "",
}

// FuzzServer sends raw packets, with descriptors, over a real socket. The bytes
// are packets: one byte that says how many descriptors, one for the length, the text.
func FuzzServer(f *testing.F) {
	for _, sample := range samples {
		f.Add(append([]byte{0, byte(len(sample))}, sample...))
		f.Add(append([]byte{byte(len(sample)), byte(len(sample))}, sample...))
		join := samples[2]
		f.Add(append(append([]byte{1, byte(len(join))}, join...), append([]byte{2, byte(len(sample))}, sample...)...))
	}
	path := serveWith(f, plain, handler{
		answer: func(_ *Peer, r Request, _ func(string)) Reply {
			if r.Version != Version || r.Verb == JoinGroup {
				panic("it is no operator's request")
			}
			return Reply{}
		},
		join: func(s *Session, r Request, files []*os.File) {
			if r.Version != Version || r.Verb != JoinGroup || len(files) > MaxFiles {
				panic("it is no join")
			}
			for s.Reply(Reply{Done: true}) == nil {
				r, files, err := s.Receive()
				closeAll(files)
				if err != nil {
					return
				}
				if r.Version != Version || len(files) > MaxFiles {
					panic("it is no request")
				}
			}
		},
	})
	null, err := os.Open(os.DevNull)
	if err != nil {
		f.Fatal(err)
	}
	defer null.Close()
	descriptor := int(null.Fd())
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		sent := 0
		for ; len(data) >= 2 && sent < 20; sent++ {
			descriptors, size := int(data[0]), min(int(data[1]), len(data)-2)
			var rights []byte
			if descriptors > 0 {
				fds := make([]int, min(descriptors, 253))
				for i := range fds {
					fds[i] = descriptor
				}
				rights = unix.UnixRights(fds...)
			}
			if _, _, err := conn.WriteMsgUnix(data[2:2+size], rights, nil); err != nil {
				break // it was refused already
			}
			data = data[2+size:]
		}
		if err := conn.CloseWrite(); err != nil {
			return
		}
		// Every reply is one of ours, and then comes the end.
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		for {
			reply, err := readReply(conn)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil || reply.Version != Version || !reply.Done {
				t.Fatalf("reply %+v, %v", reply, err)
			}
		}
	})
}

// FuzzMessage decodes what is no good, and what is stays what it is.
func FuzzMessage(f *testing.F) {
	for _, sample := range samples {
		f.Add([]byte(sample))
	}
	f.Add([]byte(`{"version":1,"done":true,"seat":{"group":"api","slot":3,"address":"[::]:80","descriptors":["loads"]}}`))
	f.Add(bytes.Repeat([]byte("["), MaxRequest))
	f.Fuzz(func(t *testing.T, text []byte) {
		request, err := packet{text: text}.request()
		if err == nil {
			if request.Version != Version {
				t.Errorf("version %d is ours", request.Version)
			}
			stays(t, &request, new(Request))
		}
		var other errVersion
		if errors.As(err, &other) && int(other) == Version {
			t.Errorf("our version is refused: %v", err)
		}
		reply := new(Reply)
		if (packet{text: text}).decode(reply) == nil {
			stays(t, reply, new(Reply))
		}
	})
}

func stays(t *testing.T, message, again any) {
	t.Helper()
	text, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, again); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	twice, err := json.Marshal(again)
	if err != nil || !bytes.Equal(text, twice) {
		t.Errorf("%s becomes %s, %v (%v)", text, twice, err, reflect.TypeOf(message))
	}
}

// A later version is refused in a way that it understands, whatever it means.
func TestLaterVersionIsTold(t *testing.T) {
	noLeaks(t)
	path := serve(t, func(Request, func(string)) Reply {
		t.Error("it was handled")
		return Reply{}
	})
	conn := connect(t, path)
	if _, err := conn.Write([]byte(`{"version":9,"verb":{"is":"an object"},"workers":"many"}`)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	reply := lastReply(t, conn)
	wantError(t, reply, nil, "version 9")
	wantError(t, reply, nil, "version 1")
}
