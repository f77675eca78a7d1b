package ledger

import (
	"fmt"
	"net/netip"
	"time"
)

// afterDeath is how long after a worker's death its client may read the reset,
// on a machine whose processors have more to do, or that stands still.
const afterDeath = 3 * time.Second

// Balance is the comparison of the client's columns with the workers' records.
type Balance struct {
	// Accepted is how many connections the workers recorded. It is the sum of
	// the counts below but InHands, unless there are Faults.
	Accepted int
	// Answered, ResetAfterAccept and Others (timed out, wrong) are those of the
	// client's connections that were accepted, by column.
	Answered, ResetAfterAccept, Others int
	// InHands are resets without a record that are laid to a Kill; they stand in
	// the column ResetAfterAccept too, but in none of the counts above.
	InHands int
	// Gone are recorded accepts without a peer: the client had given the
	// connection up in the accept queue.
	Gone int
	// Strangers are accepts of connections that weren't the load's: from a port
	// at which the client had none at that time, or with the number 0, which is
	// for questions whether a server is ready. Health checks are such. Where there
	// are none, it is for the caller to want 0.
	Strangers int
	// Faults are whatever can't be explained, each with the numbers it is about.
	Faults []string
}

// Balances is true if everything is explained.
func (b *Balance) Balances() bool { return len(b.Faults) == 0 }

// Balance writes into every entry who had accepted it, sorts the resets into
// their columns, and says whether the books balance. Kills are those that the
// caller sent.
func (b *Book) Balance(records Records, kills ...Kill) *Balance {
	s := settlement{book: b, Balance: &Balance{Accepted: len(records.Accepts)}, by: make(map[*Entry]*Accept), byNumber: make(map[uint64]*Entry, len(b.Entries)), byPeer: make(map[netip.AddrPort][]*Entry)}
	s.Faults = append(b.check(), records.Faults...)
	for _, e := range b.Entries {
		s.byNumber[e.Number] = e
		s.byPeer[e.Local] = append(s.byPeer[e.Local], e)
	}
	s.assign(records.Accepts)
	for _, e := range b.Entries {
		s.settle(e)
	}
	s.explainGone()
	s.layToKills(kills)
	if sum := s.Answered + s.ResetAfterAccept + s.Others + s.Gone + s.Strangers; sum != s.Accepted && len(s.Faults) == 0 {
		s.fault("the workers accepted %d connections, and the client's columns have %d of them", s.Accepted, sum)
	}
	return s.Balance
}

// settlement is a balance in the making.
type settlement struct {
	*Balance
	book     *Book
	by       map[*Entry]*Accept
	byNumber map[uint64]*Entry
	byPeer   map[netip.AddrPort][]*Entry // in the order of their start
}

func (s *settlement) fault(format string, args ...any) {
	s.Faults = append(s.Faults, fmt.Sprintf(format, args...))
}

// assign finds the connection of every accept. Those of which a question was
// read say their number. Ports are used again and again, so of the rest each
// is the latest connection from its port that was open before, and is without
// an accept.
func (s *settlement) assign(accepts []*Accept) {
	var silent []*Accept
	for _, a := range accepts {
		if len(a.Questions) == 0 {
			silent = append(silent, a)
		} else {
			s.assignByNumber(a)
		}
	}
	for _, a := range silent {
		if !a.Peer.IsValid() {
			s.Gone++
			continue
		}
		s.assignByPeer(a)
	}
}

func (s *settlement) assignByNumber(a *Accept) {
	number, _, err := parseQuestion(a.Questions[0])
	e := s.byNumber[number]
	switch {
	case err == nil && number == 0:
		s.Strangers++
	case err != nil || e == nil:
		s.fault("process %d recorded question %s from %s, and the client has no such connection", a.PID, a.Questions[0], a.Peer)
	case a.Peer.IsValid() && e.Local != a.Peer:
		s.fault("connection %d: process %d recorded it from %s, and it was from %s", number, a.PID, a.Peer, e.Local)
	default:
		s.give(e, a)
		s.checkQuestions(e, a)
	}
}

func (s *settlement) assignByPeer(a *Accept) {
	var open *Entry // then, and with an accept already
	same := s.byPeer[a.Peer]
	for i := len(same) - 1; i >= 0; i-- {
		e := same[i]
		// An answered one has an accept with its question.
		if e.Started <= a.At && s.by[e] == nil && e.Column != Answered {
			s.give(e, a)
			return
		}
		if e.Started <= a.At && a.At <= e.Ended {
			open = e
		}
	}
	if open != nil {
		s.fault("connection %d: process %d recorded that it accepted it, besides process %d", open.Number, a.PID, open.AcceptedBy)
		return
	}
	s.Strangers++
}

func (s *settlement) give(e *Entry, a *Accept) {
	if first := s.by[e]; first != nil {
		s.fault("connection %d: accepted twice, by process %d and by process %d", e.Number, first.PID, a.PID)
		return
	}
	s.by[e] = a
	e.AcceptedBy, e.Accepted = a.PID, a.At
	if a.At < e.Started {
		s.fault("connection %d: process %d recorded that it accepted it %v before it was opened", e.Number, a.PID, e.Started.Sub(a.At))
	}
}

// checkQuestions wants each question of a connection once, in order: all that
// were answered, and perhaps one more that wasn't.
func (s *settlement) checkQuestions(e *Entry, a *Accept) {
	for i, question := range a.Questions {
		if want := fmt.Sprintf("%d.%d", e.Number, i); question != want {
			s.fault("connection %d: process %d recorded question %s, want %s", e.Number, a.PID, question, want)
			return
		}
	}
	unanswered := len(a.Questions) - e.Answered
	if unanswered < 0 || unanswered > 1 || unanswered == 1 && e.Column == Answered {
		s.fault("connection %d: process %d recorded %d questions, and the client got %d answers", e.Number, a.PID, len(a.Questions), e.Answered)
	}
}

// settle finds the final column of an entry, and counts it.
func (s *settlement) settle(e *Entry) {
	a := s.by[e]
	if e.wasReset() {
		e.Column = ResetBeforeAccept
		if a != nil {
			e.Column = ResetAfterAccept
			s.ResetAfterAccept++
		}
	}
	switch {
	case e.Answered > 0 && a == nil:
		s.fault("connection %d: process %d answered it, and nobody recorded that", e.Number, e.Worker.PID)
	case e.Answered > 0 && a.PID != e.Worker.PID:
		s.fault("connection %d: answered by process %d, recorded by process %d", e.Number, e.Worker.PID, a.PID)
	case e.Column == Refused && a != nil:
		s.fault("connection %d: refused, and accepted by process %d", e.Number, a.PID)
	}
	switch {
	case a == nil || e.wasReset():
	case e.Column == Answered:
		s.Answered++
	default:
		s.Others++
	}
}

// explainGone wants a connection that the client had given up for every accept
// without a peer.
func (s *settlement) explainGone() {
	given := 0
	for _, e := range s.book.Entries {
		if s.by[e] == nil && (e.Column == TimedOut || e.Column == Wrong || e.Column == ResetBeforeAccept) {
			given++
		}
	}
	if s.Gone > given {
		s.fault("workers accepted %d connections whose client was gone, and the client had given up %d", s.Gone, given)
	}
}

// layToKills finds what killed workers may have had in their hands.
func (s *settlement) layToKills(kills []Kill) {
	for _, k := range kills {
		left := max(k.Loops, 1)
		for _, e := range s.book.Entries {
			if left == 0 {
				break
			}
			if e.Column != ResetBeforeAccept || e.Connected == 0 || e.Started > k.Dead ||
				e.Ended < k.Sent || e.Ended > k.Dead.Add(afterDeath) {
				continue
			}
			e.Column, e.InHands, e.AcceptedBy = ResetAfterAccept, true, k.PID
			s.InHands++
			left--
		}
	}
}
