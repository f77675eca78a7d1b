package wire

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/privilege"
)

const childVariable = "SOCKDIST_WIRE_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		if err := child(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// child is another process that joins, says so, and waits until it is killed.
func child(path string) error {
	conn, err := Dial(context.Background(), path)
	if err == nil {
		err = conn.Send(Request{Verb: JoinGroup})
	}
	if err != nil {
		return err
	}
	fmt.Println("joined")
	_, _, err = conn.Receive()
	return err
}

// startChild returns when the child has joined.
func startChild(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "joined\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return cmd
}

// noLeaks fails the test if it ends with more descriptors than it began. Call it
// before anything else.
func noLeaks(t *testing.T) {
	t.Helper()
	warm, _, err := os.Pipe() // the runtime's own descriptors come with the first
	if err != nil {
		t.Fatal(err)
	}
	warm.Close()
	runtime.GC()
	before := descriptors(t)
	t.Cleanup(func() {
		eventually(t, func() error {
			if after := descriptors(t); len(after) > len(before) {
				return fmt.Errorf("%d descriptors, %d before: %q", len(after), len(before), after)
			}
			return nil
		})
	})
}

func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil {
			targets = append(targets, to)
		}
	}
	return targets
}

func eventually(t *testing.T, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Error(err)
			return
		}
	}
}

// as runs f on a thread of another user, which ends with it.
func as(t *testing.T, uid, gid int, groups []uint32, f func()) {
	t.Helper()
	privilege.Require(t)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := become(uid, gid, groups)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func become(uid, gid int, groups []uint32) error {
	if err := setGroups(groups); err != nil {
		return err
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return errno
	}
	return nil
}

// connectAs returns a connection of another user.
func connectAs(t *testing.T, uid int, path string) *Conn {
	t.Helper()
	var conn *Conn
	var err error
	as(t, uid, uid, nil, func() { conn, err = Dial(context.Background(), path) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// openFolder is one that every user can traverse.
func openFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "wire")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// ask sends the request and returns the last reply to it.
func ask(conn *Conn, r Request, files ...*os.File) (Reply, error) {
	unsent := conn.Send(r, files...)
	for {
		reply, came, err := conn.Receive()
		closeAll(came)
		if err != nil && unsent != nil {
			err = unsent
		}
		if err != nil || reply.Done {
			return reply, err
		}
	}
}

func wantError(t *testing.T, reply Reply, err error, words string) {
	t.Helper()
	if err != nil || !reply.Done || !strings.Contains(reply.Error, words) {
		t.Errorf("reply %+v, %v; want an error with %q", reply, err, words)
	}
}

func wantDone(t *testing.T, reply Reply, err error) {
	t.Helper()
	if err != nil || !reply.Done || reply.Error != "" {
		t.Errorf("reply %+v, %v", reply, err)
	}
}
