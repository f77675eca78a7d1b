package systemd

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/loader"
)

// asWorker makes the test program bind an address, as any server does, and say
// what became of it.
const asWorker = "SYSTEMD_TEST_WORKER"

func bindAsWorker(address string) {
	config := net.ListenConfig{}
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		fmt.Println(err)
		return
	}
	listener.Close()
	fmt.Println("listens")
}

// A worker that knows nothing of SO_REUSEPORT shares the port of the manager's
// socket when the app owns that, and it was given to the worker's user.
func TestHookedWorker(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, kind)
			leaf, tree := s.leaf()
			app, err := s.host.CreateApp(loader.AppSpec{Name: "web", Cgroup: tree, Ports: []uint16{s.listen.Port()}})
			s.must(err)
			defer func() { s.must(app.Destroy()) }()

			const www = 33
			s.park()
			s.expect(leaf, 0, "address already in use", "a stranger's port")
			s.must(app.Own(s.socket))
			s.expect(leaf, 0, "listens", "the app's own port")
			s.expect(leaf, www, "address already in use", "another user's port")
			s.must(unix.Fchown(s.socket, www, -1))
			s.expect(leaf, www, "listens", "its own user's port")
			s.leave()
		})
	}
}

// leaf makes a cgroup for workers.
func (s *stage) leaf() (leaf *cgroup.Leaf, tree string) {
	s.Helper()
	mount, err := cgroup.Find()
	s.must(err)
	t, err := mount.Create(fmt.Sprintf("systemd-test-%d-%s", os.Getpid(), strings.ReplaceAll(s.Name(), "/", "-")))
	s.must(err)
	s.Cleanup(func() {
		s.must(t.Remove())
		s.must(t.Close())
	})
	leaf, err = t.Leaf("0")
	s.must(err)
	return leaf, t.Path()
}

// expect starts a worker of the user and compares what it says.
func (s *stage) expect(leaf *cgroup.Leaf, uid uint32, want, what string) {
	s.Helper()
	home, err := leaf.Open()
	s.must(err)
	defer home.Close()
	worker := exec.Command("/proc/self/exe")
	worker.Env = []string{asWorker + "=" + s.listen.String()}
	worker.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(home.Fd()), Credential: &syscall.Credential{Uid: uid, Gid: uid},
	}
	var said []byte
	s.must(s.ns.Do(func() (err error) {
		said, err = worker.CombinedOutput()
		return err
	}))
	if !strings.Contains(string(said), want) {
		s.Errorf("a worker of user %d on %s says %q, want %q", uid, what, said, want)
	}
}
