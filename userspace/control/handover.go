package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/userspace/wire"
)

const (
	// leavePatience is how long a supervisor has to leave its app to another.
	leavePatience = 10 * time.Second
	// killedPatience is far more than the lock of one that was killed outlives
	// it: a worker that it was just starting has it until its exec.
	killedPatience = time.Second
)

// ErrHandedOver is what Run returns when another supervisor took the app over.
var ErrHandedOver = errors.New("handed over to another supervisor")

// leftError is what a change came to that the next supervisor goes on with.
type leftError struct{}

func (leftError) Error() string {
	return "another supervisor has the app by now, and goes on with this change"
}

func (leftError) Is(other error) bool { return other == ErrEnding || other == ErrHandedOver }

// whyEnding is the error of a change that nobody here goes on with.
func (s *Supervisor) whyEnding() error {
	if isClosed(s.left) {
		return leftError{}
	}
	return ErrEnding
}

// HandOver ends Run with [ErrHandedOver], and leaves the workers as they are to
// another supervisor, which may be one of this process. It returns when Run does.
func (s *Supervisor) HandOver() {
	s.fail(ErrHandedOver)
	<-s.ended
}

// Started is closed when workers were started, or taken over: from then on the
// app can be changed.
func (s *Supervisor) Started() <-chan struct{} { return s.started }

// leave has nobody here look after the workers any more.
func (s *Supervisor) leave() {
	s.forget()
	s.inCharge = false
	close(s.left)
	workers := s.crew.all()
	for _, w := range workers {
		w.current() // waits for a start that is under way
	}
	s.urgency.raise(hurried)
	s.giveUp()
	for _, w := range workers {
		<-w.done
	}
	s.departures.Wait()
}

// askToLeave has the app's present supervisor, if there is one, end and leave
// its workers.
func (s *Supervisor) askToLeave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	err := wire.Call(ctx, Socket(s.config.RuntimeDir, s.config.Name), wire.Request{Verb: wire.Leave}, nil)
	if errors.Is(err, wire.ErrNobody) || errors.Is(err, wire.ErrGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take over from the present supervisor of app %s: %w", s.config.Name, err)
	}
	return nil
}

// createTree takes the app's lock. A supervisor that was asked to leave has it
// until the end of its process.
func (s *Supervisor) createTree(mount *cgroup.Mount) (tree *cgroup.Tree, err error) {
	patience := killedPatience
	if s.config.TakeOver {
		if err := s.askToLeave(); err != nil {
			return nil, err
		}
		patience = leavePatience
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(welcomeEvery) {
		tree, err = mount.Create(s.config.Name)
		if !errors.Is(err, cgroup.ErrInUse) {
			return tree, err
		}
		if time.Now().After(deadline) {
			break
		}
	}
	if !s.config.TakeOver {
		err = fmt.Errorf("%w (to replace that supervisor and keep its workers, add --take-over)", err)
	}
	return nil, err
}
