package main

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"-quick", "-only", "stall,scale"})
	if err != nil || o.repeat != 1 || len(o.only) != 2 || o.rate != 2000 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parse(nil); err != nil || o.repeat != 5 || len(o.only) != len(parts) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range []string{"-only nothing", "-rate 0", "-repeat -1", "argument"} {
		if _, err := parse(strings.Fields(args)); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v, want an error", args, err)
		}
	}
}

// Only connections that were due in the span count, the lost among the slow.
func TestDuring(t *testing.T) {
	at := func(due, took time.Duration, c ledger.Column) *ledger.Entry {
		start := ledger.Moment(1).Add(due)
		return &ledger.Entry{Due: start, Started: start, Ended: start.Add(took), Column: c}
	}
	book := &ledger.Book{Entries: []*ledger.Entry{
		at(0, 5*time.Second, ledger.Answered),
		at(time.Second, 2*time.Second, ledger.Answered),
		at(time.Second, time.Millisecond, ledger.Answered),
		at(time.Second, time.Millisecond, ledger.ResetAfterAccept),
		at(2*time.Second, time.Millisecond, ledger.Answered),
		at(3*time.Second, 5*time.Second, ledger.Answered),
	}}
	begin := ledger.Moment(1).Add(time.Second)
	share, _, most := during(book, begin, begin.Add(2*time.Second))
	if share != 0.5 || most != 2000 {
		t.Errorf("share %v, most %v ms; want 0.5, 2000", share, most)
	}
	if share, _, _ := during(book, begin.Add(time.Hour), begin.Add(2*time.Hour)); share != 0 {
		t.Errorf("share %v of nothing", share)
	}
}

// A table has a line for each contender, with the columns of all of its rounds,
// and says what must be known beside.
func TestTable(t *testing.T) {
	r := &row{Contender: "somebody"}
	for i, share := range []float64{0.3, 0.1, 0.2} {
		report := &ledger.Report{Balance: &ledger.BalanceReport{}, Late: i / 2}
		for c := ledger.Answered; c <= ledger.Wrong; c++ {
			report.Columns = append(report.Columns, ledger.ColumnReport{Column: c, Connections: 10 * int(c)})
		}
		r.add(report, share, share, share, 2)
	}
	if r.Slow != 0.2 || r.Low != 0.1 || r.High != 0.3 || r.Faults != 6 || r.connections() != 450 {
		t.Errorf("%+v", r)
	}
	var out bytes.Buffer
	table := &table{Name: "part", Title: "what", Rows: []*row{r}, heads: lossHeads, cells: lossCells}
	if err := table.write(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 8 || lines[0] != "PART" || !strings.HasPrefix(lines[4], "somebody   6       450          30       60") ||
		!strings.Contains(lines[5], "! somebody, round 3: ") {
		t.Errorf("%q", lines)
	}
}
