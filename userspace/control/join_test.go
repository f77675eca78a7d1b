package control_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/control/controltest"
	"github.com/sockdist/sockdist/userspace/wire"
)

func init() { roles["join"] = join }

// join is a worker that joins, without the library, and prints the answers.
func join(args []string) error {
	l, err := listen(args[0], false)
	if err != nil {
		return err
	}
	go answer(l)
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	conn, err := wire.Dial(context.Background(), os.Getenv("SOCKDIST_SOCKET"))
	if err != nil {
		return err
	}
	for _, step := range []struct {
		verb  string
		files []*os.File
	}{
		{wire.JoinGroup, nil}, {wire.Drain, nil}, {wire.JoinGroup, []*os.File{file, file}}, {wire.JoinGroup, []*os.File{file}},
		{wire.Ping, nil}, {wire.Drain, nil}, {wire.Undrain, nil}, {"sing", nil}, {wire.JoinGroup, []*os.File{file}}, {wire.Quit, nil},
	} {
		if err := conn.Send(wire.Request{Verb: step.verb}, step.files...); err != nil {
			return err
		}
		reply, files, err := conn.Receive()
		if err != nil {
			return err
		}
		text := fmt.Sprintf("%s with %d: bring %v, done %v, %d files", step.verb, len(step.files), reply.Bring, reply.Done, len(files))
		if reply.Seat != nil {
			text += fmt.Sprintf(", slot %d of %s at %s, %v", reply.Seat.Slot, reply.Seat.Group, reply.Seat.Address, reply.Seat.Descriptors)
		}
		if reply.Error != "" {
			text += ", an error"
		}
		fmt.Println(text)
	}
	select {}
}

// All that a worker can say in a session, and what is made of it.
func TestSession(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	a := start(t, control.Config{Command: []string{"test", "join", address}, Workers: 1}, new(controltest.Kernel))
	seat := "bring false, done true, 1 files, slot 0 of group at " + address + ", [loads]"
	want := []string{
		"join with 0: bring true, done false, 0 files",
		"drain with 0: bring false, done true, 0 files, an error",
		"join with 2: bring false, done true, 0 files, an error",
		"join with 1: " + seat,
		"ping with 0: bring false, done true, 0 files",
		"drain with 0: bring false, done true, 0 files",
		"undrain with 0: bring false, done true, 0 files",
		"sing with 0: bring false, done true, 0 files, an error",
		"join with 1: " + seat,
		"quit with 0: bring false, done true, 0 files",
	}
	a.until("the last answer", func() bool { return strings.Contains(a.prints.String(), "quit with 0") })
	var got []string
	for line := range strings.Lines(a.prints.String()) {
		if _, text, found := strings.Cut(strings.TrimSpace(line), "] "); found {
			got = append(got, text)
		} else {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("answers\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var notes []string
	for _, note := range a.kernel.Notes() {
		if word, _, _ := strings.Cut(note, " "); word == "report" || word == "excuse" {
			notes = append(notes, note)
		}
	}
	if want := []string{
		"report 0 " + address, "excuse 0 " + address + " true", "excuse 0 " + address + " false",
		"report 0 " + address, "excuse 0 " + address + " true",
	}; !slices.Equal(notes, want) {
		t.Errorf("it came to %q, want %q", notes, want)
	}
}
