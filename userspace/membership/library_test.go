package membership

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/userspace/worker"
)

// libraryRole is a server on the library for workers, with a load of 7.
func libraryRole(args []string) error {
	l, err := worker.Listen(background, "tcp", args[0], worker.WithSocket(args[1]), worker.WithLoad(worker.Manual))
	if err != nil {
		return err
	}
	l.Load().Set(7)
	fmt.Println("joined", l.Slot(), l.Group())
	return l.Run(background, &http.Server{Handler: worker.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%d %d", os.Getpid(), l.Slot())
	}))})
}

// What the library and the kernel side think of the loads is the same.
func TestLibrary(t *testing.T) {
	w := newWorld(t)
	_, _, files, err := w.join()
	w.must(err)
	defer closeAll(files)
	c := start(t, "library", user, nil, w.config.Listen.String(), w.socket())
	if line := c.says("joined"); line != "joined 1 api" {
		t.Errorf("it says %q", line)
	}
	lines := mapLoads(files[1])
	w.until("it beats", func() bool { return w.slot(1).Beat > 2 && lines[1][1] > 2 })
	if s := w.snapshot().Slots; s[1].Load != 7 || lines[1][0] != 7 || s[0].Load != 0 || s[1].PID != c.pid() {
		t.Errorf("slots %+v", s)
	}
	lines[0][0] = 1 << 20 // so that the other one has least
	if got := clients.Hold(t, w.config.Listen, 5).Slots(); got[1] != 5 {
		t.Errorf("connections %v", got)
	}
	w.until("its requests are told", func() bool { return lines[1][2] == 5 })
	c.terminate()
	w.until("it has left", func() bool { return len(w.slots()) == 1 })
}
