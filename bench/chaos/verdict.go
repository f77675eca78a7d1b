package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
)

// An alibi is what may have cost connections.
type alibi struct {
	kills []killing
	// hung are the workers to which the supervisor sent canaries.
	hung map[int]bool
}

// A killing is the end of a worker that may have had connections. One that
// isn't dead hangs for good, and answers nothing that it has accepted. As long
// as nothing waits in its queue, nobody can know.
type killing struct {
	ledger.Kill
	why string
}

// takes tells whether a loss is one that it may cause.
func (k killing) takes(e *ledger.Entry) bool {
	if e.AcceptedBy != k.PID || e.Ended < k.Sent.Add(-unpunctual) {
		return false
	}
	return e.Column == ledger.ResetAfterAccept || e.Column == ledger.TimedOut && k.Dead == 0
}

// unpunctual is how long before the time in a log a signal may have been sent.
const unpunctual = 200 * time.Millisecond

// of finds what explains a loss.
func (a *alibi) of(e *ledger.Entry) (killing, bool) {
	for _, k := range a.kills {
		if k.takes(e) {
			return k, true
		}
	}
	return killing{}, false
}

func (a *alibi) ledgerKills() (kills []ledger.Kill) {
	for _, k := range a.kills {
		if k.Dead != 0 {
			kills = append(kills, k.Kill)
		}
	}
	return kills
}

// A tally sums up what became of a service's connections.
type tally struct {
	Rounds, Connections, Held, Answers, Answered, Canaries int
	// Explained losses are allowed ones; a line for each. Causes are why, in
	// order, and how often.
	Explained []string
	Causes    []cause
	Slowest   time.Duration
}

// A cause has cost a number of connections.
type cause struct {
	why  string
	lost int
}

// explain notes a loss that is allowed.
func (t *tally) explain(why, line string) {
	t.Explained = append(t.Explained, line)
	for i := range t.Causes {
		if t.Causes[i].why == why {
			t.Causes[i].lost++
			return
		}
	}
	t.Causes = append(t.Causes, cause{why, 1})
}

// judge balances the books of a round, and finds what is lost without reason.
func (s *suite) judge(own *service, begin ledger.Moment, book *ledger.Book, records ledger.Records, why *alibi) {
	canaries := leaveOut(&records, begin, book, why)
	balance := book.Balance(records, why.ledgerKills()...)
	report := book.Report(balance)
	s.write(own.name, "books: %s", report.Verdict())
	for _, fault := range balance.Faults {
		s.fail(book.End, own.name, "the books don't balance: "+fault)
	}
	if report.Unopened > 0 {
		s.fail(book.End, own.name, fmt.Sprintf("the client could not open %d connections: %s", report.Unopened, report.UnopenedReason))
	}
	t := &own.tally
	for _, e := range book.Losses() {
		k, explained := why.of(e)
		if !explained {
			s.fail(e.Ended, own.name, append([]string{"lost: " + e.String()}, history(e)...)...)
			continue
		}
		t.explain(k.why, fmt.Sprintf("%8.3f s  %v; %s", s.since(e.Ended), e, k.why))
	}
	t.Rounds++
	t.Connections += report.Connections()
	t.Held += report.Held.Connections
	t.Answers += report.Held.Answers
	t.Answered += report.Columns[ledger.Answered].Connections
	t.Canaries += canaries
	for _, e := range book.With(ledger.Answered) {
		t.Slowest = max(t.Slowest, e.Latency())
	}
	if t.Answered == 0 {
		s.fail(book.End, own.name, "no connection was answered: nothing is proved")
	}
}

// history is what the ledger knows of a connection, in order.
func history(e *ledger.Entry) []string {
	line := fmt.Sprintf("due %+v, opened 0, connected %v, accepted %v, ended %v; %d answers",
		e.Due.Sub(e.Started), sinceStart(e, e.Connected), sinceStart(e, e.Accepted), sinceStart(e, e.Ended), e.Answered)
	return []string{line}
}

func sinceStart(e *ledger.Entry, m ledger.Moment) string {
	if m == 0 {
		return "never"
	}
	return m.Sub(e.Started).String()
}

// leaveOut drops accepts that aren't the load's: those from before it, the
// questions with the number 0, which are ours and --ready's, and the canaries of
// the supervisor in the queues of workers that hang.
func leaveOut(r *ledger.Records, begin ledger.Moment, book *ledger.Book, why *alibi) (canaries int) {
	lost := make(map[netip.AddrPort]bool)
	for _, e := range book.Losses() {
		lost[e.Local] = true
	}
	var ours []*ledger.Accept
	for _, a := range r.Accepts {
		silent := len(a.Questions) == 0
		switch {
		case a.At < begin, !silent && strings.HasPrefix(a.Questions[0], "0."):
		case silent && why.hung[a.PID] && !(a.Peer.IsValid() && a.Peer.Addr().IsValid() && lost[a.Peer]):
			canaries++
		default:
			ours = append(ours, a)
		}
	}
	r.Accepts = ours
	return canaries
}
