package clients

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// Outcome is what became of a connection and its question.
type Outcome int

const (
	// Answered is the good end.
	Answered Outcome = iota
	// Refused connections were answered with a RST instead of a SYN-ACK.
	Refused
	// Reset connections were open, and ended before the whole answer was there,
	// by a RST or a FIN.
	Reset
	// TimedOut ones stayed silent for the client's timeout.
	TimedOut
	// Wrong answers were complete, and not what was to be expected.
	Wrong
	// Failed is trouble on the client's own side: no port, no descriptor left.
	Failed
)

var outcomes = [...]string{"answered", "refused", "reset", "timed out", "wrong", "failed"}

// String returns the outcome in a word or two.
func (o Outcome) String() string { return outcomes[o] }

// outcomeOf sorts the error of an exchange.
func outcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return Answered
	case errors.Is(err, ErrWrong):
		return Wrong
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Reset
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return TimedOut
	}
	return Failed
}

// Exchange is one connection, or one question on a held connection.
type Exchange struct {
	// Local is the client's end, also of a connection that failed. It is
	// what the server sees as its peer, so that a loss can be laid to a worker.
	Local netip.AddrPort
	// Started, Connected and Ended are when the SYN went out, when the
	// handshake ended, and when the answer or the error came. Connected is zero
	// if the handshake did not end well; on a held connection it is Started.
	Started, Connected, Ended time.Time
	Outcome                   Outcome
	Answer                    Answer
	// Err is nil for Answered and no other.
	Err error
}

// ended returns e with its end.
func (e Exchange) ended(answer Answer, err error) Exchange {
	e.Ended = time.Now()
	e.Answer, e.Err, e.Outcome = answer, err, outcomeOf(err)
	return e
}

// String tells one exchange in a line.
func (e Exchange) String() string {
	text := fmt.Sprintf("%s from %s at %s after %v", e.Outcome, e.Local,
		e.Started.Format("15:04:05.000000"), e.Ended.Sub(e.Started).Round(time.Microsecond))
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Ledger is what became of many exchanges, in the order of their start.
type Ledger []Exchange

// With returns the exchanges that had one outcome.
func (l Ledger) With(o Outcome) Ledger {
	return l.where(func(e Exchange) bool { return e.Outcome == o })
}

// Lost returns the exchanges with any outcome but Answered.
func (l Ledger) Lost() Ledger {
	return l.where(func(e Exchange) bool { return e.Outcome != Answered })
}

func (l Ledger) where(holds func(Exchange) bool) Ledger {
	var some Ledger
	for _, e := range l {
		if holds(e) {
			some = append(some, e)
		}
	}
	return some
}

// PIDs counts the answers by the process that gave them; under 0 those of
// servers that did not say.
func (l Ledger) PIDs() map[int]int {
	counts := make(map[int]int)
	for _, e := range l.With(Answered) {
		counts[e.Answer.PID]++
	}
	return counts
}

// samples is how many losses String shows of each kind.
const samples = 3

// String counts the outcomes in one line, and shows a few losses of each kind,
// each in a line of its own.
func (l Ledger) String() string {
	counts := []string{fmt.Sprintf("%d exchanges", len(l))}
	var shown []string
	for o := range outcomes {
		some := l.With(Outcome(o))
		if len(some) == 0 {
			continue
		}
		counts = append(counts, fmt.Sprintf("%d %s", len(some), Outcome(o)))
		if Outcome(o) == Answered {
			continue
		}
		for _, e := range some[:min(samples, len(some))] {
			shown = append(shown, "\n\t"+e.String())
		}
	}
	return strings.Join(counts, ", ") + strings.Join(shown, "")
}
