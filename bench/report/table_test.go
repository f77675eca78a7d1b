package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sockdist/sockdist/bench/result"
)

func TestTable(t *testing.T) {
	var b bytes.Buffer
	Table(&b, small())
	want := `rate/go: a connection for each request
                 p99, ms                           rate, /s
  go-reuseport    10.0 (9.00–12.0)                  1000 (990–1010)
  sockdist-go     12.0 (10.0–15.0)  1.18× worse     1000 (990–1010) 1.00× tie
  go-master-rr    5.00             0.477× better    1500            1.50× better
  go-shared      error                             error
  go-master-rr   1 of 5 rounds failed: it left: [31mexit status 1
  go-master-rr   200 of 600 requests failed (33.3 %)
  go-shared      5 of 5 rounds failed: it left: [31mexit status 1
  median of 5 rounds, × to go-reuseport in the same round, interval of the median (93.75 %)
  made up
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

// A table that is too wide goes on below, with the names again.
func TestTableFolds(t *testing.T) {
	for i := range made().Cases {
		var b bytes.Buffer
		Table(&b, &made().Cases[i])
		for line := range strings.Lines(b.String()) {
			if strings.Contains(line, "median of") || strings.Contains(line, "failed: ") {
				continue
			}
			if n := utf8.RuneCountInString(line) - 1; n > plainWidth {
				t.Fatalf("%d columns: %s", n, line)
			}
		}
		if strings.ContainsAny(b.String(), "\033\r") {
			t.Fatalf("escapes for a terminal in:\n%s", b.String())
		}
	}
}

func TestOneRound(t *testing.T) {
	c := small()
	for i := range c.Rows {
		c.Rows[i].Rounds = c.Rows[i].Rounds[:1]
	}
	c.Judge()
	var b bytes.Buffer
	Table(&b, c)
	for _, word := range []string{"better ", "worse ", "tie"} {
		if strings.Contains(strings.ReplaceAll(b.String(), "better from worse", ""), word) {
			t.Errorf("%s, of one round:\n%s", word, b.String())
		}
	}
	if !strings.Contains(b.String(), "one round") || !strings.Contains(b.String(), "1.20×") {
		t.Error(b.String())
	}
}

// A file isn't a terminal.
func TestTableInFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	Table(file, small())
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), "\033") || len(text) == 0 {
		t.Errorf("%q, %v", text, err)
	}
}

func TestPaint(t *testing.T) {
	if got := painted("worse", 6, true); got != "\033[31mworse \033[0m" {
		t.Errorf("%q", got)
	}
	if got := painted("tie", 4, true); got != "tie " {
		t.Errorf("%q", got)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0001: "0.0001", 0.01234: "0.012", 0.1234: "0.123", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 123456: "123456", -1.5: "-1.50",
	} {
		if got := number(v); got != want {
			t.Errorf("%v: %s instead of %s", v, got, want)
		}
	}
	if got := ratioSpan(result.Ratio{Median: 2, Low: 1.5, High: result.Endless, Coverage: 0.75}); got != "2.00× (1.50–∞)" {
		t.Error(got)
	}
	for m, want := range map[result.Metric]string{{Name: "p99", Unit: "ms"}: "p99, ms", {Name: "jain"}: "jain", {Name: "server µs", Unit: "µs"}: "server µs"} {
		if got := heading(m); got != want {
			t.Errorf("%s instead of %s", got, want)
		}
	}
}
