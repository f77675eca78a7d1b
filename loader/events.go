package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/cilium/ebpf/ringbuf"
)

// An EventKind tells what happened to a socket of an app.
type EventKind uint32

const (
	Listening EventKind = iota + 1 // a socket that the bind hook saw listens now
	Closed                         // it does no longer
	Stranger                       // a bind failed: somebody else listens there
)

// An Event is something that happened to a socket of an app.
type Event struct {
	Kind    EventKind
	Cookie  uint64         // of the socket; 0 for Stranger
	Cgroup  uint64         // id (inode) of the cgroup of the process that caused it; 0 for Stranger
	PID     int            // that process, in the initial pid namespace
	Address netip.AddrPort // where it listens
	V6Only  bool
}

// Events reads what happens to an app's sockets. There may be one reader at a
// time. Events that come when 64 KiB are unread are lost: look for yourself now
// and then.
type Events struct{ reader *ringbuf.Reader }

// Events starts reading.
func (a *App) Events() (*Events, error) {
	reader, err := ringbuf.NewReader(a.events)
	if err != nil {
		return nil, fmt.Errorf("app %s: read events: %w", a.name, err)
	}
	return &Events{reader}, nil
}

// Close ends reading; a Read that waits returns.
func (e *Events) Close() error { return e.reader.Close() }

// Read waits for the next event. After Close the error wraps os.ErrClosed.
func (e *Events) Read() (Event, error) {
	record, err := e.reader.Read()
	if errors.Is(err, ringbuf.ErrClosed) {
		return Event{}, fmt.Errorf("events: %w", os.ErrClosed)
	}
	if err != nil {
		return Event{}, fmt.Errorf("events: %w", err)
	}
	var raw abiEvent
	if err := binary.Read(bytes.NewReader(record.RawSample), binary.LittleEndian, &raw); err != nil {
		return Event{}, fmt.Errorf("events: %w", err)
	}
	address := netip.AddrFrom16(raw.Address)
	if raw.Ipv6 == 0 {
		address = address.Unmap()
	}
	return Event{Kind: EventKind(raw.Kind), Cookie: raw.Cookie, Cgroup: raw.Cgroup, PID: int(raw.Pid),
		Address: netip.AddrPortFrom(address, raw.Port), V6Only: raw.V6only != 0}, nil
}
