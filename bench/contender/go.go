package contender

import (
	"context"
	"fmt"
)

// simple is what the Go server can by itself.
const simple = Works | Keeps | Upgrades | Slows

func gos() []*Contender {
	all := []*Contender{
		{Name: "go-shared", Title: "Go, one listener for all", Start: goShared},
		{Name: "go-reuseport", Title: "Go, plain SO_REUSEPORT", Start: goReuseport},
		{Name: "go-master-rr", Title: "Go, a master passes connections in turn", Start: goMaster("rr")},
		{Name: "go-master-least", Title: "Go, a master passes connections to the least busy", Start: goMaster("least")},
		{Name: "sockdist-go", Title: "Go under sockdist, least", Start: goSockdist("least")},
	}
	for _, policy := range []string{"p2c", "rr", "random", "hash"} {
		all = append(all, &Contender{Name: "sockdist-go-" + policy, Title: "Go under sockdist, " + policy, Start: goSockdist(policy)})
	}
	for _, c := range all {
		c.Family, c.Can = Go, simple|Serial|Respawns|Reloads|Grows
	}
	return append(all, &Contender{
		Name: "sockdist-go-worker", Title: "Go with the worker library under sockdist, least", Family: Go,
		Can: simple | Respawns | Reloads | Grows, Start: goWorker,
	})
}

// goServer is the app as one worker.
func (s *Setup) goServer(flags ...string) Command {
	args := append([]string{s.Programs.Server}, flags...)
	if s.Serial {
		args = append(args, "-serial")
	}
	return Command{Args: args, Env: []string{"GOMAXPROCS=1"}}
}

func goShared(ctx context.Context, s *Setup) (*Fleet, error) { return s.overShared(ctx, s.goServer()) }

func goReuseport(ctx context.Context, s *Setup) (*Fleet, error) {
	return s.overReuseport(ctx, s.goServer())
}

func goSockdist(policy string) func(context.Context, *Setup) (*Fleet, error) {
	return func(ctx context.Context, s *Setup) (*Fleet, error) { return s.underSockdist(ctx, policy, s.goServer()) }
}

func goWorker(ctx context.Context, s *Setup) (*Fleet, error) {
	if s.Serial {
		return s.fail(fmt.Errorf("the worker library accepts while it serves"))
	}
	return s.underSockdist(ctx, "least", s.goServer("-worker"))
}
