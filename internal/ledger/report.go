package ledger

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the result of a load, as JSON too. Times are in milliseconds.
type Report struct {
	// Server is the address, Rate the connections a second that were wanted,
	// Reached those that were opened, and Seconds how long it all took.
	Server  string  `json:"server"`
	Seed    uint64  `json:"seed"`
	Rate    float64 `json:"rate"`
	Reached float64 `json:"reached"`
	Seconds float64 `json:"seconds"`
	// Columns has every connection once, in the order of the constants.
	Columns []ColumnReport `json:"columns"`
	// Slow is how many of the short connections were answered later than 1 s
	// after they were due, or never; SlowShare is their share, 0 to 1.
	Slow      int     `json:"slow"`
	SlowShare float64 `json:"slow_share"`
	// Held is about those that stay open.
	Held HeldReport `json:"held"`
	// Late connections were opened more than 100 ms too late by the client.
	// They stand in their column, and in no latency and not in Slow.
	Late     int     `json:"late"`
	LateMost float64 `json:"late_most_ms"`
	// Unopened ones have no column: the client had no port or descriptor.
	Unopened       int    `json:"unopened"`
	UnopenedReason string `json:"unopened_reason,omitempty"`
	// Balance is nil if nobody has compared.
	Balance *BalanceReport `json:"balance,omitempty"`
	Losses  []LossReport   `json:"losses"`
}

// ColumnReport is a column. Latencies are those of short connections, from when
// they were due to the answer or the failure.
type ColumnReport struct {
	Column      Column  `json:"column"`
	Connections int     `json:"connections"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	P999        float64 `json:"p99_9_ms"`
	Max         float64 `json:"max_ms"`
}

// HeldReport counts held connections and their questions.
type HeldReport struct {
	Connections int     `json:"connections"`
	Lost        int     `json:"lost"`
	Answers     int     `json:"answers"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	Max         float64 `json:"max_ms"`
}

// BalanceReport is a Balance.
type BalanceReport struct {
	Accepted         int      `json:"accepted"`
	Answered         int      `json:"answered"`
	ResetAfterAccept int      `json:"reset_after_accept"`
	Others           int      `json:"others"`
	Gone             int      `json:"gone"`
	Strangers        int      `json:"strangers"`
	InHands          int      `json:"in_hands"`
	Faults           []string `json:"faults"`
}

// LossReport is a lost connection. Times are since the begin of the load.
type LossReport struct {
	Number     uint64  `json:"number"`
	Held       bool    `json:"held,omitempty"`
	Local      string  `json:"local"`
	Column     Column  `json:"column"`
	Phase      Phase   `json:"phase"`
	Started    float64 `json:"started_ms"`
	Connected  float64 `json:"connected_ms,omitempty"`
	Accepted   float64 `json:"accepted_ms,omitempty"`
	Ended      float64 `json:"ended_ms"`
	AcceptedBy int     `json:"accepted_by,omitempty"`
	InHands    bool    `json:"in_hands,omitempty"`
	Error      string  `json:"error,omitempty"`
}

// slowAfter is what nobody wants to wait.
const slowAfter = time.Second

// Report sums up. The Balance may be nil.
func (b *Book) Report(balance *Balance) *Report {
	r := &Report{
		Server: b.Load.Server.String(), Seed: b.Load.Seed, Rate: b.Load.Rate, Reached: b.Rate(),
		Seconds: b.End.Sub(b.Begin).Seconds(), Unopened: b.Unopened, Losses: []LossReport{},
	}
	if b.UnopenedErr != nil {
		r.UnopenedReason = b.UnopenedErr.Error()
	}
	for c := range columns {
		r.Columns = append(r.Columns, b.reportColumn(Column(c)))
	}
	b.countSlow(r)
	r.Held = b.reportHeld()
	for _, e := range b.Losses() {
		r.Losses = append(r.Losses, b.reportLoss(e))
	}
	if balance != nil {
		r.Balance = &BalanceReport{
			balance.Accepted, balance.Answered, balance.ResetAfterAccept, balance.Others,
			balance.Gone, balance.Strangers, balance.InHands, append([]string{}, balance.Faults...),
		}
	}
	return r
}

func (b *Book) reportColumn(c Column) ColumnReport {
	entries := b.With(c)
	var waits []time.Duration
	for _, e := range entries {
		if !e.Held && e.late() <= lateAfter {
			waits = append(waits, e.Latency())
		}
	}
	slices.Sort(waits)
	return ColumnReport{c, len(entries), quantile(waits, 0.5), quantile(waits, 0.99), quantile(waits, 0.999), quantile(waits, 1)}
}

func (b *Book) countSlow(r *Report) {
	timely := 0
	for _, e := range b.Entries {
		if e.late() > lateAfter {
			r.Late++
			r.LateMost = max(r.LateMost, milliseconds(e.late()))
			continue
		}
		if e.Held {
			continue
		}
		timely++
		if e.Column != Answered || e.Latency() > slowAfter {
			r.Slow++
		}
	}
	if timely > 0 {
		r.SlowShare = float64(r.Slow) / float64(timely)
	}
}

func (b *Book) reportHeld() (h HeldReport) {
	for _, e := range b.where(func(e *Entry) bool { return e.Held }) {
		h.Connections++
		h.Answers += e.Answered
		if e.Column != Answered {
			h.Lost++
		}
	}
	waits := slices.Sorted(slices.Values(b.Waits))
	h.P50, h.P99, h.Max = quantile(waits, 0.5), quantile(waits, 0.99), quantile(waits, 1)
	return h
}

func (b *Book) reportLoss(e *Entry) LossReport {
	since := func(m Moment) float64 {
		if m == 0 {
			return 0
		}
		return milliseconds(m.Sub(b.Begin))
	}
	l := LossReport{
		Number: e.Number, Held: e.Held, Local: e.Local.String(), Column: e.Column, Phase: e.Phase,
		Started: since(e.Started), Connected: since(e.Connected), Accepted: since(e.Accepted), Ended: since(e.Ended),
		AcceptedBy: e.AcceptedBy, InHands: e.InHands,
	}
	if e.Err != nil {
		l.Error = e.Err.Error()
	}
	return l
}

// quantile takes sorted durations and returns milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return milliseconds(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// WriteJSON writes the report, indented.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// Connections is how many there were.
func (r *Report) Connections() (n int) {
	for _, c := range r.Columns {
		n += c.Connections
	}
	return n
}

// Lost is how many weren't answered.
func (r *Report) Lost() int { return r.Connections() - r.Columns[Answered].Connections }

// Verdict is the report in one line.
func (r *Report) Verdict() string {
	parts := []string{fmt.Sprintf("%d connections at %.0f/s", r.Connections(), r.Reached)}
	for _, c := range r.Columns {
		if c.Connections > 0 || c.Column == Answered {
			parts = append(parts, fmt.Sprintf("%d %s", c.Connections, c.Column))
		}
	}
	if r.Held.Connections > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d held ones lost", r.Held.Lost, r.Held.Connections))
	}
	if r.Unopened > 0 {
		parts = append(parts, fmt.Sprintf("the client could not open %d (%s)", r.Unopened, r.UnopenedReason))
	}
	if r.Late > 0 {
		parts = append(parts, fmt.Sprintf("the client itself opened %d too late, by up to %.0f ms", r.Late, r.LateMost))
	}
	switch {
	case r.Balance == nil:
	case len(r.Balance.Faults) == 0:
		parts = append(parts, "the books balance")
	default:
		parts = append(parts, fmt.Sprintf("THE BOOKS DON'T BALANCE: %d faults, first: %s", len(r.Balance.Faults), r.Balance.Faults[0]))
	}
	return strings.Join(parts, ", ")
}

// WriteTable writes the columns as a table, and the balance below.
func (r *Report) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "column\tconnections\tshare\tp50 ms\tp99 ms\tp99.9 ms\tmax ms")
	for _, c := range r.Columns {
		if c.Connections == 0 {
			fmt.Fprintf(table, "%s\t0\t\t\t\t\t\n", c.Column)
			continue
		}
		fmt.Fprintf(table, "%s\t%d\t%.3f %%\t%.2f\t%.2f\t%.2f\t%.2f\n", c.Column, c.Connections,
			100*float64(c.Connections)/float64(r.Connections()), c.P50, c.P99, c.P999, c.Max)
	}
	fmt.Fprintf(table, "slower than 1 s, or lost\t%d\t%.3f %%\t\t\t\t\n", r.Slow, 100*r.SlowShare)
	if h := r.Held; h.Connections > 0 {
		fmt.Fprintf(table, "answers on %d held\t%d\t\t%.2f\t%.2f\t\t%.2f\n", h.Connections, h.Answers, h.P50, h.P99, h.Max)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return r.writeBalance(w)
}

func (r *Report) writeBalance(w io.Writer) error {
	b := r.Balance
	if b == nil {
		return nil
	}
	_, err := fmt.Fprintf(w, "workers accepted %d = %d answered + %d reset + %d timed out or wrong + %d gone before + %d of others; %d more in the hands of killed workers\n",
		b.Accepted, b.Answered, b.ResetAfterAccept, b.Others, b.Gone, b.Strangers, b.InHands)
	for _, fault := range b.Faults {
		if err == nil {
			_, err = fmt.Fprintln(w, "doesn't fit:", fault)
		}
	}
	return err
}
