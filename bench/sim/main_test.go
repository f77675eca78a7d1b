package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Main(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

// small is quick.
var small = []string{"-workers", "4", "-connections", "2000", "-rounds", "2"}

func TestMainPrintsTables(t *testing.T) {
	code, out, text := call(t, append(small, "-load", "0.5,0.7")...)
	if strings.Contains(text, ErrNoCompiler.Error()) {
		t.Skip(text)
	}
	if code != 0 || strings.Count(out, "least") != 2 || strings.Count(out, "shared") != 2 {
		t.Errorf("%d: %s%s", code, out, text)
	}
	if code, out, _ := call(t, append(small, "-brief", "-rtt", "0,500µs")...); code != 0 || !strings.Contains(out, "RTT 0.5") {
		t.Errorf("%d: %s", code, out)
	}
}

func TestMainWritesJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sim.json")
	code, out, text := call(t, append(small, "-json", "-o", path)...)
	if strings.Contains(text, ErrNoCompiler.Error()) {
		t.Skip(text)
	}
	saved, err := os.ReadFile(path)
	if code != 0 || err != nil || string(saved) != out {
		t.Fatalf("%d, %v: %s%s", code, err, out, text)
	}
	var all []Comparison
	if err := json.Unmarshal(saved, &all); err != nil || len(all) != 1 || all[0].Rows[0].P99.Ratio <= 0 {
		t.Errorf("%v: %s", err, saved)
	}
}

func TestMainSaysWhatIsWrong(t *testing.T) {
	for _, args := range [][]string{
		{"-workers", "0"}, {"-workers", "257"}, {"-workers", "many"}, {"-load", "1"}, {"-load", "x"}, {"-service", "slow"},
		{"-rtt", "-1"}, {"-rtt", "soon"}, {"-reports", "-1"}, {"-reports", "never"}, {"-contenders", "best"}, {"-rounds", "0"},
		{"-mean", "0s"}, {"-mean", "1h"}, {"-connections", "7"}, {"-speeds", "0"}, {"-slow", "0.5"}, {"-crash"}, {"-every", "10"},
		{"-crash", "-drain", "-every", "10"}, {"-crash", "-every", "10", "-workers", "1"}, {"-nonsense"}, {"sideways"}, {"-fin", "never"},
		{"-requests", "-1"}, {"-think", "-1"}, {"-burst", "-1", "-every", "1"}, {"-rtt", "NaN"},
	} {
		code, out, text := call(t, args...)
		if code != 2 || out != "" || strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "sim: ") {
			t.Errorf("%q: %d: %s%s", args, code, out, text)
		}
	}
}

func TestMainHelps(t *testing.T) {
	if code, _, text := call(t, "-h"); code != 0 || !strings.Contains(text, "-workers") {
		t.Errorf("%d: %s", code, text)
	}
}

func TestMainStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, text bytes.Buffer
	if code := Main(ctx, small, &out, &text); code != 1 {
		t.Errorf("%d: %s%s", code, &out, &text)
	}
}
