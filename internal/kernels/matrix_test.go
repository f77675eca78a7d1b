package kernels

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestMatrix(t *testing.T) {
	b := newBench(t, `case "$*" in *6.12*) exit 35;; *) echo testing: warning: no tests to run; exit 33;; esac`+"\n")
	other := b.image
	other.Name = "6.12"
	broken := Package{Path: "example.test/broken", Tests: true}
	var out, summary bytes.Buffer
	results := Matrix{
		Machine:  b.machine,
		Images:   []Image{b.image, other},
		Packages: []Package{b.pkg, broken},
		Failed:   map[string]error{broken.Path: ErrBuild},
		Jobs:     2,
		Output:   &out,
	}.Run(t.Context())

	if failed := Summarize(&summary, results); failed != 3 {
		t.Errorf("%d failed, want 3", failed)
	}
	if got := out.String(); got != "6.1    | testing: warning: no tests to run\n" {
		t.Errorf("output %q", got)
	}
	if err := results[1].Err; !errors.Is(err, ErrBuild) {
		t.Errorf("broken package: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(summary.String()), "\n")
	for i, want := range [][]string{
		{"ok ", "6.1 ", "example.test/p ", "[no tests to run]"},
		{"FAIL ", "6.1 ", "example.test/broken", "build failed"},
		{"FAIL ", "6.12 ", "example.test/p ", "exit code 1"},
		{"FAIL ", "6.12 ", "example.test/broken", "build failed"},
		{"1 passed, 3 failed"},
	} {
		for _, part := range want {
			if !strings.Contains(lines[i], part) {
				t.Errorf("line %d is %q, without %q", i, lines[i], part)
			}
		}
	}
}
