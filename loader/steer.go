package loader

import (
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Steer attaches the group's program: from the next connection on it chooses.
// fd is any listening socket of the SO_REUSEPORT group; the attachment lasts as
// long as one socket of that group does. An earlier program is replaced, with
// no connection lost; see Steerers to find out whether there is one. The error
// wraps fs.ErrNotExist if the group was removed.
func (g *Group) Steer(fd int) (err error) {
	defer wrap(&err, "steer group %s", g.name)
	program, err := g.program()
	if err != nil {
		return err
	}
	defer program.Close()
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, program.FD())
}

// program is the one that is pinned now: Host.Refresh may have replaced it.
func (g *Group) program() (*ebpf.Program, error) {
	if err := g.pinned(); err != nil {
		return nil, err
	}
	return loadProgram(filepath.Join(g.host.dir, "groups", g.name, "steer"))
}

// Unsteer gives the choice back to the kernel's hash. It is no error if no program was attached.
func (g *Group) Unsteer(fd int) (err error) {
	defer wrap(&err, "give group %s back to the kernel", g.name)
	return Unsteer(fd)
}

// Unsteer is the same for a group of whatever version.
func Unsteer(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// ProgramID is the kernel's number of the group's program, to compare with
// Steerers. Sockets with another number are steered by somebody else's program,
// or by the one from before a Host.Refresh: Steer them again.
func (g *Group) ProgramID() (number uint32, err error) {
	defer wrap(&err, "group %s", g.name)
	program, err := g.program()
	if err != nil {
		return 0, err
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return 0, err
	}
	id, _ := info.ID()
	return uint32(id), nil
}

// Steerers tells, by socket cookie, which program chooses among the sockets of
// each SO_REUSEPORT group that has one, in the calling thread's network
// namespace. The number is 0 for a classic BPF program.
func Steerers() (programs map[uint64]uint32, err error) {
	defer wrap(&err, "read who steers")
	var objects struct {
		WhoSteers *ebpf.Program `ebpf:"who_steers"`
	}
	if err := load(&objects, nil); err != nil {
		return nil, err
	}
	defer objects.WhoSteers.Close()
	programs = make(map[uint64]uint32)
	return programs, iterate(objects.WhoSteers, func(out io.Reader) error { return readSteerers(out, programs) })
}

// readSteerers stops where the listeners end: among half-open connections the
// kernel's iterator takes references that it must not, see eachOrigin.
func readSteerers(out io.Reader, programs map[uint64]uint32) error {
	some := make([]byte, 32*16)
	for {
		n, err := out.Read(some)
		for pair := some[:n]; len(pair) >= 16; pair = pair[16:] {
			cookie := binary.LittleEndian.Uint64(pair)
			if cookie == 0 {
				return nil
			}
			programs[cookie] = uint32(binary.LittleEndian.Uint64(pair[8:]))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// iterate runs an iterator over the sockets of the calling thread's network
// namespace, for as long as its output is read.
func iterate(program *ebpf.Program, read func(io.Reader) error) error {
	iter, err := link.AttachIter(link.IterOptions{Program: program})
	if err != nil {
		return &UnsupportedError{Feature: "the iterator over TCP sockets", MinKernel: "6.1", Err: err}
	}
	defer iter.Close()
	reader, err := iter.Open()
	if err != nil {
		return err
	}
	defer reader.Close()
	return read(reader)
}

// readAll has an iterator go on to its end.
func readAll(out io.Reader) error {
	_, err := io.Copy(io.Discard, out)
	return err
}
