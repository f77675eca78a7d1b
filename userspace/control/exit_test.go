package control

import (
	"strings"
	"testing"
)

func TestExitString(t *testing.T) {
	for want, e := range map[string]exit{
		"exited with status 0":                {status: 0},
		"exited with status 3":                {status: 3 << 8},
		"was killed by SIGKILL":               {status: 9},
		"was killed by SIGSEGV (core dumped)": {status: 0x80 | 11},
		"ended in an unknown way":             {unknown: true},
	} {
		if got := e.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestStartErrorText(t *testing.T) {
	e := &StartError{Slot: 1, Exit: "exited with status 1", Output: []string{"one", "two"}}
	if text := e.Error(); !strings.HasSuffix(text, "worker 1 exited with status 1, its last output:\n  one\n  two") {
		t.Errorf("text is %q", text)
	}
	e.Output = nil
	if text := e.Error(); !strings.HasSuffix(text, "worker 1 exited with status 1 and printed nothing") {
		t.Errorf("text is %q", text)
	}
}
