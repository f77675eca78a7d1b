package membership

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/userspace/wire"
)

// What a worker without privileges holds gets it nowhere beyond its own group's
// loads and its own listener.
func TestReach(t *testing.T) {
	w, other := newWorld(t), newWorld(t, func(c *Config) { c.Name, c.UIDs = "other", []uint32{stranger} })
	pins := other.host.Dir()
	_, _, files, err := w.join()
	w.must(err)
	defer closeAll(files)
	before := w.snapshot()

	c := start(t, "reach", user, nil, "everything", w.socket(), w.config.Name, other.socket(), other.config.Name,
		pins, w.host.Dir(), strconv.Itoa(os.Getpid()))
	failed := 0
	for line := range c.lines {
		what, result, _ := strings.Cut(line, ": ")
		t.Log(line)
		switch {
		case what == "join" || strings.HasPrefix(what, "may "):
			// for the log
		case strings.HasPrefix(what, "can "):
			if result != "<nil>" {
				t.Errorf("it should be able to: %s", line)
			}
		case result == "<nil>":
			t.Errorf("it could: %s", line)
		default:
			failed++
		}
	}
	if err := c.end(); err != nil || failed < 20 {
		t.Errorf("%v after %d failures", err, failed)
	}
	after := w.snapshot()
	if after.Slots[0].Generation != before.Slots[0].Generation || after.Slots[0].Hold != 0 || after.Slots[0].Load != 1<<40 {
		t.Errorf("slot 0 before and after: %+v %+v; its load is what the others may write", before.Slots[0], after.Slots[0])
	}
	if n := len(other.slots()); n != 0 {
		t.Errorf("%d slots in the other group", n)
	}
}

// A member can take the program off; the daemon sees that picks stand still.
func TestProgramIsTakenOff(t *testing.T) {
	var said sayings
	w := newWorld(t, func(c *Config) { c.HangAfter = 500 * time.Millisecond; c.Logger = said.logger() })
	workers := w.workers(3)
	run := w.load(ledger.Load{Rate: 200})
	picks := func() (sum uint64) {
		for _, p := range w.progress() {
			sum += p.Picks
		}
		return sum
	}
	for round := range 2 {
		workers[0].signal(unix.SIGUSR1)
		if line := workers[0].says("detach"); line != "detach: <nil>" {
			t.Fatal(line)
		}
		w.until("it is noticed", func() bool { return strings.Count(said.String(), "attached again") > round })
		before := picks()
		w.until("workers are picked again", func() bool { return picks() > before+100 })
	}
	// Whoever joins next has it attached again, too.
	workers[0].signal(unix.SIGUSR1)
	workers[0].says("detach")
	w.worker()
	before := picks()
	w.until("workers are picked again", func() bool { return picks() > before+100 })
	w.settle(run)
}

func childCommand(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = new(unix.SysProcAttr)
	return cmd
}

// reachRole tries what an unprivileged process may want to do, and says what came of it.
func reachRole(args []string) error {
	switch args[0] {
	case "bind":
		return tryBind(args[1])
	case "join":
		_, _, err := joinGroup(args[1], args[2])
		return err
	case "leave session":
		conn, files, err := joinGroup(args[1], args[2])
		if err != nil {
			return err
		}
		defer closeAll(files) // a listener that nobody means to use would be collected
		conn.Close()
		fmt.Println("closed")
	case "fork":
		return leaveToHeir(args[1], args[2])
	case "everything":
		return tryEverything(args[1:])
	default:
		return errors.New(args[0])
	}
	time.Sleep(time.Hour)
	return nil
}

func tryBind(address string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(netip.MustParseAddrPort(address)))
	}
	fmt.Println("bind:", err)
	return nil
}

func joinGroup(socket, group string, files ...*os.File) (*wire.Conn, []*os.File, error) {
	conn, err := wire.Dial(background, socket)
	if err != nil {
		return nil, nil, err
	}
	reply, got, err := ask(conn, wire.Request{Verb: wire.JoinGroup, Join: &wire.Join{Group: group}}, files...)
	if err != nil {
		fmt.Println("join:", err)
		return conn, nil, nil
	}
	fmt.Println("join: slot", reply.Seat.Slot)
	return conn, got, nil
}

// leaveToHeir has a child hold the listener that nobody accepts from.
func leaveToHeir(socket, group string) error {
	_, files, err := joinGroup(socket, group)
	if err != nil {
		return err
	}
	heir := childCommand("sleep")
	heir.ExtraFiles = files[:1]
	if err := heir.Start(); err != nil {
		return err
	}
	fmt.Println("heir", heir.Process.Pid)
	return heir.Wait()
}

// tryEverything prints what comes of each: what begins with "can" should
// succeed, what begins with "may" is as the kernel's settings are, and all else
// should fail.
func tryEverything(args []string) error {
	socket, group, otherSocket, other, otherPins, pins, daemon := args[0], args[1], args[2], args[3], args[4], args[5], args[6]
	_, files, err := joinGroup(socket, group)
	if err != nil || len(files) != 2 {
		return fmt.Errorf("join: %d files, %w", len(files), err)
	}
	listener, loads := int(files[0].Fd()), int(files[1].Fd())
	say := func(what string, err error) { fmt.Printf("%s: %v\n", what, err) }

	tryCommands(loads, append(pinsIn(otherPins, other), pinsIn(pins, group)...), say)
	mapLoads(files[1])[0][0] = 1 << 40
	say("can write the lines of its group", nil)
	tryMemory(loads, say)
	tryListener(listener, loads, say)
	pid, err := strconv.Atoi(daemon)
	if err != nil {
		return err
	}
	tryDaemon(pid, say)
	tryOthers(otherSocket, other, files[0], say)
	return nil
}

// pinsIn are where the pins of a group are.
func pinsIn(dir, group string) (paths []string) {
	for _, name := range []string{"slots", "sockets", "loads", "steer"} {
		paths = append(paths, filepath.Join(dir, "groups", group, name))
	}
	return append(paths, filepath.Join(dir, "host", "origins"))
}

func tryMemory(loads int, say func(string, error)) {
	page := os.Getpagesize()
	for what, at := range map[string]struct{ offset, length int }{
		"map behind the loads":      {256 * 64, page},
		"map more than the loads":   {0, 256*64 + page},
		"map far behind the loads":  {1 << 30, page},
		"map the loads from a half": {128 * 64, 256 * 64},
	} {
		_, err := unix.Mmap(loads, int64(at.offset), at.length, unix.PROT_READ, unix.MAP_SHARED)
		say(what, err)
	}
	_, err := unix.Mmap(loads, 0, page, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_SHARED)
	say("may map the loads as code, as some kernels allow", err)
}

// The numbers of <linux/bpf.h>.
const (
	mapLookup   = 1
	mapUpdate   = 2
	objPin      = 6
	objGet      = 7
	progNextID  = 11
	mapNextID   = 12
	progFromID  = 13
	mapFromID   = 14
	objInfo     = 15
	mapFreeze   = 22
	linkFromID  = 30
	mapSize     = 16384
	mostObjects = 4096
)

// bpf is the system call. The attributes are words of 64 bits.
func bpf(command uintptr, attributes ...uint64) error {
	var attr [16]uint64
	copy(attr[:], attributes)
	fd, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return errno
	}
	if command == progFromID || command == mapFromID || command == objGet || command == linkFromID {
		unix.Close(int(fd))
	}
	return nil
}

func tryCommands(loads int, pins []string, say func(string, error)) {
	key, value := new(uint32), new([mapSize]byte)
	at := func(p unsafe.Pointer) uint64 { return uint64(uintptr(p)) }
	// Its own map, where the kernel lets everybody use bpf().
	say("may look up its loads", bpf(mapLookup, uint64(loads), at(unsafe.Pointer(key)), at(unsafe.Pointer(value))))
	say("may update its loads", bpf(mapUpdate, uint64(loads), at(unsafe.Pointer(key)), at(unsafe.Pointer(value))))
	say("freeze its loads", bpf(mapFreeze, uint64(loads)))
	path, err := unix.BytePtrFromString("/sys/fs/bpf/sockdist-reach")
	if err != nil {
		say("can make a string", err)
	}
	say("pin its loads", bpf(objPin, at(unsafe.Pointer(path)), uint64(loads)))
	for _, pin := range pins {
		path, err := unix.BytePtrFromString(pin)
		if err != nil {
			say("can make a string", err)
		}
		say("open the pin "+filepath.Base(pin), bpf(objGet, at(unsafe.Pointer(path))))
		_, err = os.Stat(pin)
		say("see the pin "+filepath.Base(pin), err)
	}
	for what, command := range map[string]uintptr{"a program": progFromID, "a map": mapFromID, "a link": linkFromID} {
		var last error
		for id := range uint64(mostObjects) {
			if last = bpf(command, id); last == nil {
				break
			}
		}
		say("open "+what+" by its number", last)
	}
	say("list programs", bpf(progNextID, 0))
	say("list maps", bpf(mapNextID, 0))
}

func tryListener(listener, loads int, say func(string, error)) {
	all := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	program := &unix.SockFprog{Len: 1, Filter: &all}
	say("attach a program of its own to the group", unix.SetsockoptSockFprog(listener, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, program))
	say("attach the loads as a program", unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, loads))
	say("attach a filter", unix.SetsockoptSockFprog(listener, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program))
	say("unlock the filters", unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 0))
	say("bind it to another address", unix.Bind(listener, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}))
	own, err := unix.Getsockname(listener)
	if err == nil {
		var fd int
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err == nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			err = unix.Bind(fd, own)
		}
	}
	say("bind another socket beside it", err)
}

func tryDaemon(pid int, say func(string, error)) {
	process, err := unix.PidfdOpen(pid, 0)
	say("can open the daemon's pidfd", err)
	stolen := errors.New("none")
	for fd := range 256 {
		if _, err := unix.PidfdGetfd(process, fd, 0); err == nil || !errors.Is(err, unix.EBADF) {
			if stolen = err; err == nil {
				break
			}
		}
	}
	say("take a descriptor of the daemon", stolen)
	say("trace the daemon", unix.PtraceAttach(pid))
	_, err = os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	say("list the daemon's descriptors", err)
	_, err = os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	say("open the daemon's memory", err)
	say("signal the daemon", unix.Kill(pid, unix.SIGTERM))
}

func tryOthers(socket, group string, listener *os.File, say func(string, error)) {
	for what, files := range map[string][]*os.File{"join another group": nil, "bring its listener to another group": {listener}} {
		conn, err := wire.Dial(background, socket)
		if err == nil {
			_, _, err = ask(conn, wire.Request{Verb: wire.JoinGroup, Join: &wire.Join{Group: group}}, files...)
		}
		say(what, err)
	}
}
