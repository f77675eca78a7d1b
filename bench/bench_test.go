package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/result"
	"github.com/sockdist/sockdist/bench/workload"
	"github.com/sockdist/sockdist/internal/privilege"
)

// Bad usage is one line, and exit code 2.
func TestUsage(t *testing.T) {
	for _, args := range []string{
		"-repeat 0x", "-repeat 101", "-repeat -1", "-only nothing/at/all", "-contenders nobody", "-frobnicate", "run", "list all",
		"compare", "compare a", "report", "agree", "agree a b", "agree nosuchfile",
	} {
		var stdout, stderr bytes.Buffer
		code := command(t.Context(), strings.Fields(args), &stdout, &stderr)
		if lines := strings.Count(stderr.String(), "\n"); code != exitUsage && code != exitFailed || lines != 1 || stdout.Len() > 0 {
			t.Errorf("bench %s: exit %d, %d lines: %s%s", args, code, lines, stdout.String(), stderr.String())
		}
	}
	var stdout, stderr bytes.Buffer
	if code := command(t.Context(), []string{"-h"}, &stdout, &stderr); code != 0 || !strings.Contains(stderr.String(), "-quick") {
		t.Errorf("bench -h: exit %d: %s", code, stderr.String())
	}
}

func TestList(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := command(t.Context(), []string{"list", "-cases"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	for _, want := range []string{"queue/8/exponential/0.85", "sockdist-node", "haproxy-tcp-go"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("no %s in the list", want)
		}
	}
}

// Every case names contenders that there are, has its baseline among them, and
// can be measured in one way.
func TestCasesAreSound(t *testing.T) {
	seen := make(map[string]bool)
	for _, size := range []workload.Size{workload.Quick, workload.Full} {
		clear(seen)
		for _, w := range workload.All() {
			cases := w.Cases(size)
			if len(cases) == 0 || w.Name == "" || w.Title == "" {
				t.Errorf("workload %q has %d cases, title %q", w.Name, len(cases), w.Title)
			}
			for _, c := range cases {
				if seen[c.Name] || (c.Name != w.Name && !strings.HasPrefix(c.Name, w.Name+"/")) {
					t.Errorf("%s: a second one of this name, or not below %s", c.Name, w.Name)
				}
				seen[c.Name] = true
				checkCase(t, c)
			}
		}
	}
}

func checkCase(t *testing.T, c workload.Case) {
	t.Helper()
	for _, name := range c.Contenders {
		if contender.ByName(name) == nil {
			t.Errorf("%s: there is no contender %s", c.Name, name)
		}
	}
	if rows := slices.Concat(c.Contenders, c.Rows); !slices.Contains(rows, c.Baseline) {
		t.Errorf("%s: the baseline %q is none of its rows", c.Name, c.Baseline)
	}
	if (c.Measure == nil) == (c.Together == nil) || len(c.Metrics) == 0 || c.Length <= 0 || c.Title == "" {
		t.Errorf("%s: %d metrics, length %v, title %q, and just one way to measure?", c.Name, len(c.Metrics), c.Length, c.Title)
	}
}

// The time that the sizes are meant for, with the default numbers of rounds.
func TestTimeIsBounded(t *testing.T) {
	for size, limit := range map[workload.Size]time.Duration{workload.Quick: 5 * time.Minute, workload.Full: 70 * time.Minute} {
		o := &options{size: size}
		if err := o.complete(); err != nil {
			t.Fatal(err)
		}
		var cases []*planned
		for _, w := range workload.All() {
			for _, c := range w.Cases(size) {
				cases = append(cases, &planned{Case: c, there: make([]*contender.Contender, len(c.Contenders))})
			}
		}
		if expected := takes(cases, o.repeat) + trustTakes(size); expected > limit {
			t.Errorf("size %d takes %v, more than %v", size, expected, limit)
		}
	}
}

func TestClock(t *testing.T) {
	c := newClock(time.Hour)
	if left := c.left(); left != "60:00" {
		t.Errorf("%s left of an hour", left)
	}
	c.did(30 * time.Minute)
	c.began = time.Now().Add(-time.Hour) // twice as slow as was thought
	// The test itself takes a moment.
	if left := c.left(); !slices.Contains([]string{"59:59", "60:00", "60:01", "60:02", "60:03"}, left) {
		t.Errorf("%s left after half of the work took an hour", left)
	}
}

func TestSeeds(t *testing.T) {
	first := seedOf(1, "a", 0)
	if again := seedOf(1, "a", 0); first == seedOf(1, "a", 1) || first == seedOf(1, "b", 0) || first != again {
		t.Error("a round's seed must depend on the case and the round, and on nothing else")
	}
}

// The whole way, small: real contenders, a file, a page; and what was started has ended.
func TestRun(t *testing.T) {
	privilege.Require(t)
	dir := t.TempDir()
	o := &options{size: workload.Quick, repeat: 1, only: []string{"rate/go"}, contenders: []string{"sockdist-go"}, seed: 1,
		out: filepath.Join(dir, "r.json"), page: filepath.Join(dir, "r.html")}
	var out bytes.Buffer
	if err := compareAll(t.Context(), o, &out, os.Stderr); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text, err := os.ReadFile(o.out)
	if err != nil {
		t.Fatal(err)
	}
	var results result.Results
	if err := json.Unmarshal(text, &results); err != nil {
		t.Fatal(err)
	}
	if len(results.Cases) != 1 || len(results.Cases[0].Rows) != 2 {
		t.Fatalf("%d cases: %s", len(results.Cases), out.String())
	}
	for _, row := range results.Cases[0].Rows {
		if len(row.Rounds) != 1 || row.Rounds[0].Error != "" || row.Figures["server µs"].Median <= 0 {
			t.Errorf("%s: %+v", row.Contender, row.Rounds)
		}
	}
	if page, err := os.ReadFile(o.page); err != nil || !bytes.Contains(page, []byte("sockdist-go")) {
		t.Errorf("the page: %v", err)
	}
}

// An interrupt ends it soon, and what was measured is kept.
func TestInterrupt(t *testing.T) {
	privilege.Require(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	o := &options{size: workload.Full, repeat: 5, only: []string{"rate/go"}, seed: 1,
		out: filepath.Join(t.TempDir(), "r.json"), page: filepath.Join(t.TempDir(), "r.html")}
	var out bytes.Buffer
	began := time.Now()
	if err := compareAll(ctx, o, &out, os.Stderr); err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
