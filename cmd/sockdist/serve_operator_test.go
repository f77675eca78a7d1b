package main_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/sockdist/sockdist/internal/servers"
)

// as runs a verb as another user, who must be able to reach the binary.
func (s *served) as(uid, gid uint32, groups []uint32, args ...string) (out, errs string, code int) {
	s.t.Helper()
	cmd := exec.Command(s.sockdist, append([]string{"--dir", s.pins}, args...)...)
	cmd.Env = append(s.environment(), s.extra...)
	cmd.Dir = "/"
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	if err := cmd.Run(); cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// bareWeb has web be workers that keep no books, and listen at ports of their own besides.
func (s *served) bareWeb(workers int, lines ...string) string {
	s.webs = []string{s.worker, "-listen", fmt.Sprint("127.0.0.1:", s.port), "-own"}
	port := func(n int) string { return fmt.Sprintf(", \"%d\"]", n) }
	return strings.Replace(s.webSettings(workers, lines...), port(s.port), port(servers.FreePort(s.t, nil)), 1)
}

// Operators are whom the configuration names, by user or by group, from the next
// apply on; a right to the socket alone is none to operate.
func TestServeOperators(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	web := s.bareWeb(1, "grace: 1s")
	const user, stranger, team = 61001, 61002, 61003
	operators := fmt.Sprintf("operators: {users: [%d], groups: [%d]}\n", user, team)
	s.configure("socket: {mode: \"0666\"}\n", operators, "apps:\n", web)
	s.start().ready()
	s.has(s.port, 1)

	for _, verb := range [][]string{{"apply"}, {"apply", "--check"}, {"reload", s.web()}, {"scale", s.web(), "2"}, {"stop", s.web()}} {
		out, errs, code := s.as(stranger, stranger, nil, verb...)
		if want := fmt.Sprintf("user %d may not operate this daemon", stranger); code != 1 || !strings.Contains(errs, want) {
			t.Errorf("%v by a stranger: exit code %d\n%s%s", verb, code, out, errs)
		}
	}
	before := s.pids(s.port)
	for who, as := range map[string]func(...string) (string, string, int){
		"the user":           func(args ...string) (string, string, int) { return s.as(user, user, nil, args...) },
		"one with the group": func(args ...string) (string, string, int) { return s.as(stranger, team, nil, args...) },
		"one with the group besides": func(args ...string) (string, string, int) {
			return s.as(stranger, stranger, []uint32{7, team}, args...)
		},
	} {
		for _, verb := range [][]string{{"apply"}, {"reload", s.web()}, {"scale", s.web(), "2"}, {"scale", s.web(), "1"}} {
			if out, errs, code := as(verb...); code != 0 {
				t.Errorf("%v by %s: exit code %d\n%s%s", verb, who, code, out, errs)
			}
		}
	}
	s.has(s.port, 1)
	for _, pid := range s.pids(s.port) {
		if pid == before[0] {
			t.Error("the worker wasn't replaced")
		}
	}

	// Stopped by an operator, the app stays stopped until the next apply.
	if out, errs, code := s.as(user, user, nil, "stop", s.web()); code != 0 {
		t.Errorf("stop: exit code %d\n%s%s", code, out, errs)
	}
	if _, errs, code := s.as(user, user, nil, "reload", s.web()); code != 1 || !strings.Contains(errs, "was stopped: sockdist apply starts it again") {
		t.Errorf("reload of what is stopped: exit code %d, %s", code, errs)
	}
	if _, errs, code := s.as(user, user, nil, "reload", "no-such-app"); code == 0 || strings.Contains(errs, "was stopped") {
		t.Errorf("reload of what isn't there: exit code %d, %s", code, errs)
	}
	if out, _, code := s.as(user, user, nil, "apply"); code != 0 || !strings.Contains(out, "doesn't run, starts") {
		t.Errorf("apply: exit code %d, %s", code, out)
	}
	s.has(s.port, 1)

	s.configure("socket: {mode: \"0666\"}\n", "apps:\n", web)
	s.applies()
	if _, errs, code := s.as(user, user, nil, "apply"); code != 1 || !strings.Contains(errs, "may not operate") {
		t.Errorf("apply by one who was an operator: exit code %d, %s", code, errs)
	}
	s.configure("apps:\n", web) // 0660
	s.expectSaid(s.applies(), "socket: opened anew as configured\n")
	if _, errs, code := s.as(stranger, stranger, nil, "apply"); code != 1 || !strings.Contains(errs, "permission denied") {
		t.Errorf("apply by one who may not open the socket: exit code %d, %s", code, errs)
	}
}

// Where the file puts the socket elsewhere, verbs find it as workers do.
func TestServeSocketElsewhere(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	web := s.bareWeb(1, "grace: 1s")
	const user = 61001
	path := s.runtime + "-elsewhere"
	s.configure(fmt.Sprintf("socket: {path: %s, mode: \"0666\"}\noperators: {users: [%d]}\napps:\n", path, user), web)
	s.start().ready()
	verbs := [][]string{{"apply"}, {"reload", s.web()}, {"scale", s.web(), "2"}, {"stop", s.web()}}
	for _, verb := range verbs {
		if out, errs, code := s.as(user, user, nil, verb...); code == 0 {
			t.Errorf("%v without the variable: exit code %d\n%s%s", verb, code, out, errs)
		}
	}
	s.extra = []string{"SOCKDIST_SOCKET=" + path}
	for _, verb := range verbs {
		if out, errs, code := s.as(user, user, nil, verb...); code != 0 {
			t.Errorf("%v: exit code %d\n%s%s", verb, code, out, errs)
		}
	}
}
