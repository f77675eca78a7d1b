package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
)

// status is what sockdist status --json says, as far as it is needed here.
type status struct {
	Groups []group
	Apps   []appStatus
}

type group struct {
	Name, App, Address string
	Slots              []slot

	Refused       uint64
	Fallback      uint64
	MigrateFailed uint64 `json:"migrate_failed"`
}

type slot struct {
	Slot, PID            int
	State                string
	Connections, Pending int
	Backlog              *int
}

type appStatus struct {
	Name      string
	PID       int
	Wanted    int
	Reloading bool
	Workers   []worker
}

type worker struct {
	Slot, PID   int
	State       string
	Stage       string
	Connections int
}

// verbWithin bounds every verb but those that wait for workers.
const verbWithin = 20 * time.Second

// sockdistCommand is a command line of the sockdist that is broken.
func (s *suite) sockdistCommand(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.sockdist, append([]string{"--dir", s.pins}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// verb runs a verb and returns what it says. The error has that, too.
func (s *suite) verb(within time.Duration, env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.slow(within))
	defer cancel()
	output, err := s.sockdistCommand(ctx, env, args...).CombinedOutput()
	text := strings.TrimSpace(string(output))
	if ctx.Err() != nil {
		return text, fmt.Errorf("sockdist %s isn't done within %v: %s", strings.Join(args, " "), s.slow(within), text)
	}
	if err != nil {
		return text, fmt.Errorf("sockdist %s: %w: %s", strings.Join(args, " "), err, text)
	}
	return text, nil
}

// readStatus asks for all groups and apps; the environment decides whose
// runtime folder is read.
func (s *suite) readStatus(env []string) (*status, error) {
	text, err := s.verb(verbWithin, env, "status", "--json")
	if err != nil {
		return nil, err
	}
	st := new(status)
	if err := json.Unmarshal([]byte(text), st); err != nil {
		return nil, fmt.Errorf("sockdist status --json says %q: %w", text, err)
	}
	return st, nil
}

// lookOn reads the status again and again, as an operator with --watch does,
// whatever happens meanwhile. It never may fail.
func (s *suite) lookOn(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(s.slow(700 * time.Millisecond)):
		}
		if _, err := s.readStatus(nil); err != nil {
			s.fail(ledger.Now(), "status", err.Error())
		}
	}
}
