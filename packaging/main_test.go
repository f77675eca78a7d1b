// Package packaging has the files that an operator's system needs, and tests
// of them with the programs that read them there.
package packaging

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// role makes the test program something else.
const (
	role       = "PACKAGING_TEST_ROLE"
	roleInit   = "init"   // sets a machine up and becomes its systemd
	roleServer = "server" // the app that sockdist runs there
	roleRescue = "rescue" // a service that treats the manager's socket as sockdist does
)

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case roleInit:
		fmt.Fprintln(os.Stderr, becomeInit())
		os.Exit(1)
	case roleServer:
		serve()
		return
	case roleRescue:
		rescue()
		return
	}
	os.Exit(m.Run())
}

// serve is an ordinary server. It knows nothing of sockdist.
func serve() {
	fmt.Println("started")
	listener, err := net.Listen("tcp", ":3000")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM)
	go func() {
		<-end
		_ = listener.Close()
	}()
	answer(listener)
	fmt.Println("ended in order")
}

// answer echoes a line on each connection, behind our process ID, until the
// listener is closed. Whatever was accepted by then is answered.
func answer(listener net.Listener) {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		open.Go(func() {
			defer conn.Close()
			if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
				fmt.Fprintf(conn, "%d %s", os.Getpid(), line)
			}
		})
	}
}

// built is the program under test, and what it is able to do.
type built struct {
	path     string
	notifies bool // it talks with the service manager
}

// build makes the program once a test run. It is gone when t is.
func build(t *testing.T) built {
	t.Helper()
	b := built{path: filepath.Join(t.TempDir(), "sockdist")}
	const command = "../cmd/sockdist"
	if output, err := exec.Command("go", "build", "-o", b.path, command).CombinedOutput(); err != nil {
		t.Fatalf("build sockdist: %v\n%s", err, output)
	}
	packages, err := exec.Command("go", "list", "-deps", command).Output()
	if err != nil {
		t.Fatalf("list the packages of sockdist: %v", err)
	}
	b.notifies = strings.Contains(string(packages), "/internal/systemd\n")
	return b
}

// has tells whether there is such a verb.
func (b built) has(verb string) bool { return exec.Command(b.path, verb, "--help").Run() == nil }

// units reads the files of systemd/.
var units = sync.OnceValues(func() (map[string]string, error) {
	paths, err := filepath.Glob("systemd/*")
	if err != nil {
		return nil, err
	}
	texts := make(map[string]string)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		texts[filepath.Base(path)] = string(text)
	}
	return texts, nil
})
