package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	r := made()
	var b bytes.Buffer
	if err := Markdown(&b, r); err != nil {
		t.Fatal(err)
	}
	rows, won := 0, false
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		if n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); n != 6 {
			t.Errorf("%d bars: %s", n, line)
		}
		if rows++; rows <= 2 {
			continue
		}
		lost := strings.Contains(line, "**") || strings.Contains(line, "failed")
		if lost && won {
			t.Errorf("a losing case behind a winning one: %s", line)
		}
		won = won || !lost
	}
	if rows < 20 || rows > 60 || !won {
		t.Errorf("%d rows:\n%s", rows, b.String())
	}
	for _, workload := range []string{"rate", "queue", "keepalive", "longlived", "burst", "uneven", "stall", "crash", "reload", "pick", "idle"} {
		if !strings.Contains(b.String(), "| "+workload) {
			t.Errorf("%s isn't there:\n%s", workload, b.String())
		}
	}
	if !strings.Contains(b.String(), "queues that theory knows came out within 5 %") || !strings.Contains(b.String(), "93.75 %") {
		t.Error(b.String()[:400])
	}
}

func TestMarkdownLine(t *testing.T) {
	g := glances(around(5, *small()))
	if len(g) != 1 {
		t.Fatalf("%d rows", len(g))
	}
	want := "| rate/go | p99, ms | sockdist-go: 12.0 (10.0–15.0) | **2.50× (2.30–3.00) of go-master-rr, worse** | **1.18× (1.11–1.25) of go-reuseport, worse** |\n"
	if got := g[0].line(); got != want {
		t.Errorf("%s\n%s", got, want)
	}
}

func TestCommandLine(t *testing.T) {
	folder := t.TempDir()
	good, garbage := filepath.Join(folder, "run.json"), filepath.Join(folder, "garbage.json")
	if err := around(5, *small()).Save(good); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(garbage, []byte("PK\x03\x04"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args        []string
		code        int
		out, errors string
	}{
		{[]string{good}, 0, filepath.Join(folder, "run.html"), ""},
		{[]string{"-o", filepath.Join(folder, "other.html"), good, good}, 0, "other.html", ""},
		{[]string{"-o", "-", good}, 0, "<!DOCTYPE html>", ""},
		{[]string{"-markdown", good}, 0, "| rate/go |", ""},
		{[]string{"-table", good}, 0, "sockdist-go ", ""},
		{[]string{"-h"}, 0, "", "bench report -markdown results.json"},
		{nil, 2, "", "no file"},
		{[]string{"-markdown", "-table", good}, 2, "", "only one of"},
		{[]string{"-unknown"}, 2, "", "unknown"},
		{[]string{garbage}, 1, "", "not a result of bench"},
		{[]string{"/nowhere.json"}, 1, "", "/nowhere.json: no such file"},
		{[]string{"-o", filepath.Join(good, "below"), good}, 1, "", "not a directory"},
	} {
		var out, errs bytes.Buffer
		if code := Main(test.args, &out, &errs); code != test.code || !strings.Contains(out.String(), test.out) || !strings.Contains(errs.String(), test.errors) ||
			test.code == 1 && strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%q: %d, %.200s\n%s", test.args, code, out.String(), errs.String())
		}
	}
	for _, name := range []string{"run.html", "other.html"} {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Size() < 5000 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
