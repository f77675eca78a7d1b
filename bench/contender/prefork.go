package contender

import (
	"context"
	"fmt"
)

// prefork are frameworks whose own way is to start GOMAXPROCS copies of
// themselves. In each they set GOMAXPROCS to 1.
func prefork() []*Contender {
	return []*Contender{{
		Name: "fasthttp-prefork", Title: "fasthttp, prefork (one inherited listener)", Family: FastHTTP,
		Can: Works | Keeps | Slows | Respawns,
		Start: func(ctx context.Context, s *Setup) (*Fleet, error) {
			return s.preforking(ctx, s.Programs.FastHTTP, "-prefork")
		},
	}, {
		Name: "fiber-prefork", Title: "fiber, prefork (SO_REUSEPORT)", Family: FastHTTP,
		Can:   Works | Keeps | Slows, // and ends when a worker dies
		Start: func(ctx context.Context, s *Setup) (*Fleet, error) { return s.preforking(ctx, s.Programs.Fiber) },
	}, {
		Name: "fasthttp-sockdist", Title: "fasthttp under sockdist, least", Family: FastHTTP,
		Can: Works | Keeps | Slows | Respawns | Reloads | Grows,
		Start: func(ctx context.Context, s *Setup) (*Fleet, error) {
			return s.underSockdist(ctx, "least", Command{Args: []string{s.Programs.FastHTTP}, Env: []string{"GOMAXPROCS=1"}})
		},
	}}
}

// preforking starts a program that forks as many workers as it has processors.
func (s *Setup) preforking(ctx context.Context, args ...string) (*Fleet, error) {
	port, err := freePort()
	if err != nil {
		return s.fail(err)
	}
	env := []string{fmt.Sprintf("PORT=%d", port), fmt.Sprintf("GOMAXPROCS=%d", s.Workers)}
	process, err := s.Start(Command{Args: args, Env: env})
	if err != nil {
		return s.fail(err)
	}
	serving := acceptors{port: port}
	s.begun().Workers = func() ([]int, error) {
		pids, err := children(process.PID)
		if err != nil {
			return nil, err
		}
		return serving.among(pids)
	}
	return s.ready(ctx, local(port))
}
