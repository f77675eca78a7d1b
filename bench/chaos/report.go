package main

import (
	"time"

	"github.com/sockdist/sockdist/bench/show"
	"github.com/sockdist/sockdist/internal/ledger"
)

// result is what -json writes. Times are in seconds since the begin.
type result struct {
	Seed     uint64        `json:"seed"`
	Command  string        `json:"command"`
	Seconds  float64       `json:"seconds"`
	Apps     []appResult   `json:"apps"`
	Failures []failureText `json:"failures"`
	Left     []string      `json:"left"`
	Events   []eventText   `json:"events"`
}

type appResult struct {
	Name        string   `json:"name"`
	Rounds      int      `json:"rounds"`
	Connections int      `json:"connections"`
	Held        int      `json:"held"`
	Answers     int      `json:"answers_on_held"`
	Answered    int      `json:"answered"`
	SlowestMS   float64  `json:"slowest_ms"`
	Canaries    int      `json:"canaries"`
	Explained   []string `json:"explained_losses"`
}

type failureText struct {
	At    float64  `json:"at"`
	App   string   `json:"app"`
	Texts []string `json:"texts"`
}

type eventText struct {
	At   float64 `json:"at"`
	App  string  `json:"app"`
	Text string  `json:"text"`
}

// What stands before and after a failure is shown.
const (
	shownBefore = 5 * time.Second
	shownAfter  = 2 * time.Second
)

// report prints what was lost, and the verdict.
func (s *suite) report(left []string) error {
	r := result{Seed: s.seed, Command: s.command(), Seconds: s.since(ledger.Now()), Left: append([]string{}, left...), Failures: []failureText{}}
	s.console.line("")
	logs := make(map[string][]logLine)
	sum, lost := 0, 0
	for _, x := range s.subjects {
		own := x.own()
		t := own.tally
		if a, ok := x.(*app); ok {
			logs[own.name], _ = readLog(a.logFile.Name())
		}
		for _, c := range t.Causes {
			s.console.line("%s: %d lost: %s", own.name, c.lost, c.why)
		}
		s.console.line("%s: %d rounds, %d connections, %d of them long-lived with %d answers; %d answered (the slowest after %v), %d lost with killed workers",
			own.name, t.Rounds, t.Connections, t.Held, t.Answers, t.Answered, t.Slowest.Round(time.Millisecond), len(t.Explained))
		sum, lost = sum+t.Connections, lost+len(t.Explained)
		r.Apps = append(r.Apps, appResult{own.name, t.Rounds, t.Connections, t.Held, t.Answers, t.Answered,
			float64(t.Slowest) / 1e6, t.Canaries, append([]string{}, t.Explained...)})
	}
	for _, f := range s.failures {
		s.tell(f, logs[f.app])
		r.Failures = append(r.Failures, failureText{s.since(f.at), f.app, f.texts})
	}
	for _, n := range s.entries {
		r.Events = append(r.Events, eventText{s.since(n.at), n.app, n.text})
	}
	if len(left) == 0 {
		s.console.line("nothing is left: no process, pin, cgroup, socket or file")
	}
	verdict := "nothing else is lost, and the books balance"
	if len(s.failures) > 0 {
		verdict = "FAILED, see above"
	}
	s.console.line("seed %d: %d events, %d connections, %d lost with killed workers; %s", s.seed, len(s.entries), sum, lost, verdict)
	return show.Save(s.json, r)
}

// tell shows a failure with what was before and after it.
func (s *suite) tell(f failure, log []logLine) {
	s.console.line("\nFAILURE at %.3f s, %s: %s", s.since(f.at), f.app, f.texts[0])
	for _, text := range f.texts[1:] {
		s.console.line("  %s", text)
	}
	s.console.line("  events:")
	for _, line := range s.around(f.app, f.at, shownBefore, shownAfter) {
		s.console.line("    %s", line)
	}
	s.console.line("  log of the supervisor:")
	for _, line := range around(log, s.diary, f.at, shownBefore, shownAfter) {
		s.console.line("    %s", line)
	}
}
