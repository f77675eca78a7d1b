package grpcworker

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"golang.org/x/net/http2"
)

// script is what a server might send: frames of all kinds, header blocks in
// one frame and in several.
func script(random *rand.Rand, n int) []byte {
	var out bytes.Buffer
	framer := http2.NewFramer(&out, nil)
	framer.AllowIllegalWrites = true
	_ = framer.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
	for range n {
		stream := 1 + 2*random.Uint32N(100)
		text := make([]byte, random.IntN(3000))
		switch random.IntN(7) {
		case 0:
			_ = framer.WriteSettingsAck()
		case 1:
			_ = framer.WriteData(stream, false, text)
		case 2:
			_ = framer.WritePing(true, [8]byte{1})
		case 3:
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: text, EndHeaders: true})
		case 4:
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: text})
			for range random.IntN(3) {
				_ = framer.WriteContinuation(stream, false, text)
			}
			_ = framer.WriteContinuation(stream, true, nil)
		case 5:
			_ = framer.WriteRSTStream(stream, http2.ErrCodeCancel)
		case 6:
			_ = framer.WriteWindowUpdate(stream, 100)
		}
	}
	return out.Bytes()
}

// sink keeps what is written.
type sink struct {
	net.Conn
	bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) { return s.Buffer.Write(p) }
func (s *sink) Read(p []byte) (int, error)  { return s.Buffer.Read(p) }

// However the server's writes are cut, and whenever the client is to be asked:
// one GOAWAY stands between two frames, outside of header blocks, and all else
// is as it was.
func TestGoAwayStandsBetweenFrames(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 0))
		text := script(random, 1+random.IntN(20))
		out := &sink{}
		c := &conn{Conn: out}
		ask := random.IntN(len(text))
		most := 1 + random.IntN(1<<random.IntN(14))
		for at := 0; at < len(text); {
			if at >= ask && !c.ask && !c.leave() {
				t.Fatalf("seed %d: it doesn't ask", seed)
			}
			n := min(1+random.IntN(most), len(text)-at)
			if wrote, err := c.Write(text[at : at+n]); err != nil || wrote != n {
				t.Fatalf("seed %d: %d, %v; want %d", seed, wrote, err, n)
			}
			at += n
		}
		for range 2 { // it may have been asked before, and is then asked no more
			if !c.leave() {
				t.Fatalf("seed %d: it doesn't ask in the end", seed)
			}
		}
		checkFrames(t, seed, out.Bytes(), text)
	}
}

func checkFrames(t *testing.T, seed uint64, got, want []byte) {
	t.Helper()
	at := bytes.Index(got, goAway)
	if at < 0 || bytes.Contains(got[at+1:], goAway) {
		t.Fatalf("seed %d: not one GOAWAY", seed)
	}
	if rest := append(bytes.Clone(got[:at]), got[at+len(goAway):]...); !bytes.Equal(rest, want) {
		t.Fatalf("seed %d: the server's own frames aren't what they were", seed)
	}
	framer := http2.NewFramer(nil, bytes.NewReader(got)) // refuses frames within header blocks
	framer.SetMaxReadFrameSize(1 << 20)
	seen := 0
	for {
		frame, err := framer.ReadFrame()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			seen++
			if g.LastStreamID != 1<<31-1 || g.ErrCode != http2.ErrCodeNo {
				t.Fatalf("seed %d: %v", seed, g)
			}
		}
	}
	if seen != 1 {
		t.Fatalf("seed %d: %d GOAWAY", seed, seen)
	}
}

// Nothing is put into what isn't HTTP/2, TLS for example.
func TestOpaqueIsLeftAlone(t *testing.T) {
	for _, text := range []string{"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03", "HTTP/1.1 200 OK\r\n\r\n", "\x00\x00\x00\x04\x01\x00\x00\x00\x00rest"} {
		for _, size := range []int{1, 5, 100} {
			out := &sink{}
			c := &conn{Conn: out}
			for rest := []byte(text); len(rest) > 0; {
				n := min(size, len(rest))
				if _, err := c.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if c.leave() || out.String() != text {
				t.Errorf("%q became %q", text, out.String())
			}
		}
	}
	// Asked before anything was written, it must notice in time, too.
	out := &sink{}
	c := &conn{Conn: out}
	c.leave()
	if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil || out.String() != "HTTP/1.1 200 OK\r\n\r\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// A write that failed half-way isn't followed by anything of ours.
func TestNothingAfterError(t *testing.T) {
	mine, theirs := net.Pipe()
	c := &conn{Conn: mine}
	theirs.Close()
	if _, err := c.Write(script(rand.New(rand.NewPCG(1, 1)), 3)); err == nil {
		t.Fatal("no error")
	}
	if c.leave() {
		t.Error("it says that it asks")
	}
}

// Whatever is written, and however it is cut: nothing of it is changed, and at most
// one GOAWAY is put in.
func FuzzWrite(f *testing.F) {
	f.Add(script(rand.New(rand.NewPCG(1, 1)), 5), []byte{9, 1, 100, 8}, byte(2))
	f.Add([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05\x01\x00"), []byte{3}, byte(0))
	f.Add([]byte("\x16\x03\x03\x00\x7a"), []byte{1}, byte(1))
	f.Fuzz(func(t *testing.T, text, cuts []byte, ask byte) {
		out := &sink{}
		c := &conn{Conn: out}
		rest := text
		for i := 0; len(rest) > 0; i++ {
			if i == int(ask) {
				c.leave()
			}
			n := len(rest)
			if i < len(cuts) {
				n = min(n, int(cuts[i]))
			}
			if wrote, err := c.Write(rest[:n]); err != nil || wrote != n {
				t.Fatalf("%d, %v; want %d", wrote, err, n)
			}
			rest = rest[n:]
		}
		got := out.Bytes()
		if c.asked {
			at := bytes.Index(got, goAway)
			for at >= 0 && !bytes.Equal(append(bytes.Clone(got[:at]), got[at+len(goAway):]...), text) {
				next := bytes.Index(got[at+1:], goAway) // the server's own may be there, too
				if next < 0 {
					t.Fatal("what was written isn't there")
				}
				at += 1 + next
			}
			if at < 0 {
				t.Fatal("no GOAWAY")
			}
		} else if !bytes.Equal(got, text) {
			t.Fatal("what was written isn't there")
		}
	})
}
