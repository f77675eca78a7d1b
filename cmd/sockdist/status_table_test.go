package main

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestHumane(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 99_999: "99999", 100_000: "100k", 123_456: "123k", 999_499: "999k", 999_500: "1.00M", 1_234_567: "1.23M",
		12_345_678: "12.3M", 9_995_000: "10.0M", 99_950_000: "100M", 999_499_999: "999M", 1_000_000_000_000: "1.00T", math.MaxUint64: "18.4E",
	} {
		if got := humane(n); got != want {
			t.Errorf("humane(%d) = %s, want %s", n, got, want)
		}
	}
}

func exampleStatus() *status {
	three, no := uint32(3), false
	return &status{
		Apps: []appStatus{{Name: "web", Workers: []workerStatus{{State: "live"}, {State: "gone"}}}},
		Groups: []groupStatus{
			{
				Name: "web-80", Protocol: "tcp6", Address: "[::]:80", Policy: "least", App: "web", Refused: 1_200_000, MigrateFailed: 1,
				namespace: namespaceView{ours: true}, Steering: &no,
				Slots: []slotStatus{
					{Slot: 0, PID: 812, Process: "node", State: "live", Weight: 100, Max: 10, Connections: 9, Pending: 1, Backlog: &three, Picks: 123456789},
					{Slot: 12, PID: 99812, State: "gone", Weight: 1000, Connections: 100, Load: 4, Backlog: nil, Picks: 7, Migrated: 2},
				},
				Strangers: []strangerStatus{{PID: 7, Process: "nginx"}, {PID: 7, Process: "nginx"}, {}},
			},
			{Name: "db", Protocol: "tcp4", Address: "10.0.0.1:5432", Policy: "hash", NetNS: 4026532281, namespace: namespaceView{err: errors.New("gone")}},
		},
	}
}

func TestTable(t *testing.T) {
	const want = `app web: 2 workers, 1 gone, no supervisor, so no worker is started again

web-80  tcp6://[::]:80  policy least  app web  1.20M refused  1 lost in migration
  ! not steering: the kernel's hash chooses
  ! 3 sockets of this address without a slot, reached by the kernel's hash only: nginx (pid 7), nobody's that can be seen
  slot    pid  process  state  weight      max  connections  pending  load  backlog  picks  migrated
     0    812  node     live      100  10 full            9        1     0        3   123M         0
    12  99812  (ended)  gone     1000        -          100        0     4        ?      7         2
   all                                                  109        1     4        ?   123M         2

db  tcp4://10.0.0.1:5432  policy hash  netns 4026532281
  ! its network namespace is out of reach, backlogs and who steers are unknown: gone
  no slots: nobody listens
`
	if got := exampleStatus().table(paint{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Colours must not move the columns.
func TestTableInColour(t *testing.T) {
	plain, coloured := exampleStatus().table(paint{}), exampleStatus().table(paint{on: true})
	if !strings.Contains(coloured, "\x1b[31mgone\x1b[0m") {
		t.Errorf("no colour in %q", coloured)
	}
	for _, code := range []string{"\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[33m"} {
		coloured = strings.ReplaceAll(coloured, code, "")
	}
	if coloured != plain {
		t.Errorf("got\n%s\nwant\n%s", coloured, plain)
	}
}

func TestPaintOnlyOnTerminals(t *testing.T) {
	for _, c := range []struct {
		terminal bool
		variable string
		on       bool
	}{{true, "", true}, {false, "", false}, {true, "NO_COLOR=1", false}, {true, "TERM=dumb", false}} {
		env := &environment{terminal: c.terminal, getenv: func(name string) string {
			value, _ := strings.CutPrefix(c.variable, name+"=")
			if value == c.variable {
				return ""
			}
			return value
		}}
		if got := newPaint(env); got.on != c.on {
			t.Errorf("%+v: %v", c, got.on)
		}
	}
}

func TestPrintable(t *testing.T) {
	for name, want := range map[string]string{"node": "node", "a\x1b[2Jb": "a?[2Jb", "a\nb": "a?b", "\xff": "?", "größe": "größe", "\u009b1m": "?1m"} {
		if got := printable(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}
