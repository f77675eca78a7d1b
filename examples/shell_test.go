package examples

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A shell is a bash that gets commands one after the other, and stops at the
// first that fails.
type shell struct {
	t     testing.TB
	input io.Writer
	lines chan string

	mu   sync.Mutex
	said strings.Builder // errors, and what goes on in the background
}

func startShell(t testing.TB, folder string, env []string, who *syscall.Credential) *shell {
	t.Helper()
	cmd := exec.Command("bash", "--norc", "-e")
	cmd.Dir, cmd.Env = folder, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: who}
	s := &shell{t: t, lines: make(chan string)}
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.input, cmd.Stderr = input, s
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			s.lines <- scanner.Text()
		}
		close(s.lines)
	}()
	t.Cleanup(func() {
		input.Close()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with all that it left in the background
		for range s.lines {
		}
		_ = cmd.Wait()
		if t.Failed() {
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Logf("a shell said:\n%s", s.said.String())
		}
	})
	return s
}

// Write takes what is said on standard error.
func (s *shell) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(p)
}

const done = "-- the commands are done --"

// do runs commands and returns what they print.
func (s *shell) do(commands string) string {
	s.t.Helper()
	if _, err := io.WriteString(s.input, commands+"\necho; echo '"+done+"'\n"); err != nil {
		s.t.Fatalf("the shell is gone before\n%s: %v", commands, err)
	}
	var output strings.Builder
	timeout := time.After(5 * patience) // a build may be among them
	for {
		select {
		case line, ok := <-s.lines:
			switch {
			case !ok:
				s.t.Fatalf("failed:\n%s\n%s", commands, output.String())
			case line == done:
				return output.String()
			}
			output.WriteString(line + "\n")
		case <-timeout:
			s.t.Fatalf("not done after %v:\n%s\n%s", 5*patience, commands, output.String())
		}
	}
}
