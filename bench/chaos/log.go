package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
)

// A logLine is one of a supervisor's log.
type logLine struct {
	at   ledger.Moment
	text string
}

var stamp = regexp.MustCompile(`^time=(\S+) (.*)`)

// readLog reads a supervisor's log. Lines without a time, which are workers'
// own, have that of the line before.
func readLog(path string) (lines []logLine, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	wall, now := time.Now(), ledger.Now()
	var at ledger.Moment
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if m := stamp.FindStringSubmatch(line); m != nil {
			if t, err := time.Parse(time.RFC3339Nano, m[1]); err == nil {
				at, line = now.Add(t.Sub(wall)), m[2]
			}
		}
		lines = append(lines, logLine{at, line})
	}
	return lines, nil
}

// What the supervisor says when it ends a worker that may have connections.
var (
	killedHung = regexp.MustCompile(`worker \d+ \(pid (\d+)\) is killed: `)
	graceOver  = regexp.MustCompile(`worker \d+ \(pid (\d+)\) still has connections after `)
	hangs      = regexp.MustCompile(`worker \d+ \(pid (\d+)\) hangs: `)
)

// endsWithin is how long a worker takes to end that was told to.
const endsWithin = time.Second

// addLog adds what the supervisor did since a Moment.
func (a *alibi) addLog(lines []logLine, since ledger.Moment) {
	for _, l := range lines {
		if l.at < since {
			continue
		}
		if m := hangs.FindStringSubmatch(l.text); m != nil {
			pid, _ := strconv.Atoi(m[1])
			a.hung[pid] = true
		}
		for _, cause := range []struct {
			said *regexp.Regexp
			why  string
		}{{killedHung, "sockdist killed process %d, as it hung"}, {graceOver, "the grace of process %d was over"}} {
			if m := cause.said.FindStringSubmatch(l.text); m != nil {
				pid, _ := strconv.Atoi(m[1])
				sent := l.at.Add(-unpunctual)
				a.kills = append(a.kills, killing{ledger.Kill{PID: pid, Sent: sent, Dead: l.at.Add(endsWithin)}, fmt.Sprintf(cause.why, pid)})
			}
		}
	}
}

// around are the lines from some time before a Moment to some time after.
func around(lines []logLine, d *diary, at ledger.Moment, before, after time.Duration) (texts []string) {
	for _, l := range lines {
		if l.at >= at.Add(-before) && l.at <= at.Add(after) {
			texts = append(texts, fmt.Sprintf("%8.3f s  %s", d.since(l.at), l.text))
		}
	}
	return texts
}
