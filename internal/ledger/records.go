package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// FolderVariable names the folder where servers keep their records.
const FolderVariable = "SOCKDIST_LEDGER"

// Records are what the workers wrote down.
//
// Each process appends to a file of its own, "PID.START", in the folder that
// the environment names, one write(2) a line, so that a SIGKILL loses nothing
// that was written:
//
//	A MOMENT ADDRESS PORT               accepted, before anything else was done
//	N MOMENT ADDRESS PORT NUMBER.TURN   a question was read
//
// The address and port are the peer's. Where the server couldn't know it because
// the peer was gone, they are "?" and a number of the server's own, from 1 up.
type Records struct {
	Accepts []*Accept
	// Faults are lines that make no sense.
	Faults []string
}

// Accept is a connection that a worker accepted.
type Accept struct {
	PID  int
	Peer netip.AddrPort // not valid: not known
	At   Moment
	// Questions are what it read from the connection, as NUMBER.TURN.
	Questions []string
}

// ReadRecords reads the files in a folder. Call it when the load has ended and
// the accept queues are empty.
func ReadRecords(folder string) (Records, error) {
	var r Records
	files, err := os.ReadDir(folder)
	if err != nil {
		return r, fmt.Errorf("ledger: read the workers' records: %w", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(folder, file.Name()))
		if err != nil {
			return r, fmt.Errorf("ledger: read the workers' records: %w", err)
		}
		first, _, _ := strings.Cut(file.Name(), ".")
		pid, err := strconv.Atoi(first)
		if err != nil {
			return r, fmt.Errorf("ledger: %s in %s is no worker's record", file.Name(), folder)
		}
		r.read(pid, text)
	}
	slices.SortStableFunc(r.Accepts, func(a, b *Accept) int { return cmp.Compare(a.At, b.At) })
	return r, nil
}

// Accepted counts the connections by the process that accepted them.
func (r Records) Accepted() map[int]int {
	counts := make(map[int]int)
	for _, a := range r.Accepts {
		counts[a.PID]++
	}
	return counts
}

func (r *Records) read(pid int, text []byte) {
	latest := make(map[netip.AddrPort]*Accept)
	for line := range bytes.Lines(text) {
		if err := r.readLine(pid, string(line), latest); err != nil {
			r.Faults = append(r.Faults, fmt.Sprintf("process %d recorded %q: %v", pid, line, err))
		}
	}
}

func (r *Records) readLine(pid int, line string, latest map[netip.AddrPort]*Accept) error {
	text, whole := strings.CutSuffix(line, "\n")
	fields := strings.Fields(text)
	if !whole || len(fields) < 4 {
		return errors.New("the line isn't whole")
	}
	at, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return errors.New("no time")
	}
	peer, err := parsePeer(fields[2], fields[3])
	if err != nil {
		return err
	}
	switch {
	case fields[0] == "A" && len(fields) == 4:
		a := &Accept{PID: pid, Peer: peer, At: Moment(at)}
		r.Accepts = append(r.Accepts, a)
		latest[peer] = a
	case fields[0] == "N" && len(fields) == 5:
		a := latest[peer]
		if a == nil {
			return errors.New("a question of a connection that it hasn't accepted")
		}
		a.Questions = append(a.Questions, fields[4])
	default:
		return errors.New("neither an accept nor a question")
	}
	return nil
}

// parsePeer takes IPv4 clients of an IPv6 listener for what they are. The number
// of an unknown peer becomes the port of no address.
func parsePeer(host, port string) (peer netip.AddrPort, err error) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return peer, err
	}
	if host == "?" {
		return netip.AddrPortFrom(netip.Addr{}, uint16(number)), nil
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return peer, err
	}
	return netip.AddrPortFrom(address.Unmap(), uint16(number)), nil
}
