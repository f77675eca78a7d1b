package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sockdist/sockdist/internal/kernels/guest"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/transcript"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// options are those of a short run, with programs that travelled along where
// there is no compiler.
func shortOptions(t *testing.T, more ...string) options {
	t.Helper()
	privilege.Require(t)
	args := append([]string{"-short"}, more...)
	if os.Getenv(guest.Variable) != "" {
		for _, program := range []string{"sockdist", "server"} {
			path := filepath.Join("testdata", "guest", program)
			if _, err := os.Stat(path); err != nil {
				t.Fatalf("%v: run go generate ./bench/chaos before", err)
			}
			args = append(args, "-"+program, path)
		}
		args = append(args, "-slowness", "6") // emulation is slow
	}
	o, err := parse(args)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// One round with one app loses nothing that it may not lose, and leaves nothing.
func TestChaosShort(t *testing.T) {
	file := filepath.Join(t.TempDir(), "result.json")
	var out transcript.Text
	err := run(t.Context(), shortOptions(t, "-json", file), &out)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Apps) != 2 || len(r.Failures)+len(r.Left) > 0 {
		t.Errorf("%+v", r)
	}
	for _, a := range r.Apps {
		if a.Rounds != 1 || a.Answered < 20 || a.Answered+len(a.Explained) != a.Connections || a.Answers < 20 {
			t.Errorf("%+v", a)
		}
	}
}

// Ctrl-C in the middle ends everything in order.
func TestInterrupted(t *testing.T) {
	o := shortOptions(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out transcript.Text
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o, &out) }()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(out.String(), "chaos-") && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(3 * time.Second)
	cancel()
	err := <-ended
	if err == nil || !strings.Contains(err.Error(), "interrupted") || !strings.Contains(out.String(), "nothing is left") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func planOf(t *testing.T, args ...string) string {
	t.Helper()
	o, err := parse(args)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	o.showPlan(&out)
	return out.String()
}

// The seed decides what happens when, and nothing else does.
func TestPlan(t *testing.T) {
	t.Parallel()
	one := planOf(t, "-seed", "7", "-rate", "10")
	if again := planOf(t, "-seed", "7", "-rate", "900"); again != one {
		t.Error("the same seed has another plan")
	}
	if planOf(t, "-seed", "8") == one {
		t.Error("another seed has the same plan")
	}
	for _, l := range append(append([]lane{}, appLanes...), besideLanes...) {
		for _, d := range l.deeds {
			if !strings.Contains(one, "  "+d.name+"\n") {
				t.Errorf("in ten minutes there never is: %s", d.name)
			}
		}
	}
	// A longer run begins as a shorter one.
	if short := planOf(t, "-seed", "7", "-duration", "1m"); !strings.HasPrefix(one, short) {
		t.Error("a shorter run isn't the beginning of a longer one")
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, bad := range [][]string{{"-apps", "0"}, {"-apps", "99"}, {"-duration", "0s"}, {"-rate", "0"}, {"-rate", "1e9"}, {"more"}, {"-seed", "x"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	a, _ := parse(nil)
	b, _ := parse(nil)
	if a.seed == b.seed || a.seed == 0 {
		t.Errorf("seeds %d and %d", a.seed, b.seed)
	}
}
