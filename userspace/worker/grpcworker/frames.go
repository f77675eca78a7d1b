package grpcworker

import "encoding/binary"

// What of HTTP/2 a server's own frames are followed by (RFC 9113, 4.1 and 6).
const (
	frameHeader = 9 // bytes: 3 of length, type, flags, 4 of stream

	typeHeaders      = 0x1
	typeSettings     = 0x4
	typePushPromise  = 0x5
	typeContinuation = 0x9

	flagAck        = 0x1
	flagEndHeaders = 0x4
)

// goAway asks the client to begin nothing new on this connection, and takes
// back nothing that is on its way: its last stream is the greatest there is.
var goAway = []byte{
	0, 0, 8, // length
	7, 0, // GOAWAY, no flags
	0, 0, 0, 0, // of the connection
	0x7f, 0xff, 0xff, 0xff, // last stream
	0, 0, 0, 0, // NO_ERROR
}

// frames follows the frames of a server through its writes, which may be cut
// anywhere, to know where another frame can stand.
type frames struct {
	header  [frameHeader]byte
	have    int  // bytes of header that were there
	payload int  // bytes of the frame that are still to come
	block   bool // a header block is open: only CONTINUATION may follow
	greeted bool // the first frame has begun, and is SETTINGS, as HTTP/2 demands
	opaque  bool // this isn't HTTP/2: encrypted by somebody above, probably
}

// between tells whether another frame may stand here.
func (f *frames) between() bool {
	return f.greeted && !f.opaque && f.have == 0 && f.payload == 0 && !f.block
}

// next goes over bytes that are to be written, until another frame may stand,
// or to the end. It tells how many these were.
func (f *frames) next(p []byte) int {
	done := 0
	for done < len(p) && !f.opaque {
		if f.payload > 0 {
			n := min(f.payload, len(p)-done)
			f.payload -= n
			done += n
		} else {
			n := copy(f.header[f.have:], p[done:])
			f.have += n
			done += n
			if f.have == frameHeader {
				f.begin()
			}
		}
		if f.between() {
			return done
		}
	}
	return len(p)
}

// all goes over all of p.
func (f *frames) all(p []byte) {
	for len(p) > 0 {
		p = p[f.next(p):]
	}
}

// begin is at the end of a frame's header.
func (f *frames) begin() {
	f.have = 0
	f.payload = int(binary.BigEndian.Uint32(f.header[:4]) >> 8)
	kind, flags := f.header[3], f.header[4]
	if !f.greeted {
		f.greeted = true
		f.opaque = kind != typeSettings || flags&flagAck != 0 || binary.BigEndian.Uint32(f.header[5:]) != 0
		return
	}
	switch kind {
	case typeHeaders, typePushPromise, typeContinuation:
		f.block = flags&flagEndHeaders == 0
	}
}
