package contender

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// ofNode is what the Node app can do whatever stands in front of it.
const ofNode = Works | Keeps | Upgrades | Slows

// nodes are the contenders that run bench/peers/node/app.js without a proxy.
func nodes() []*Contender {
	return []*Contender{
		nodeCluster("node-cluster", "Node cluster, round robin (its default)", "rr"),
		nodeCluster("node-cluster-shared", "Node cluster, shared handle", "none"),
		pm2(),
		plainNode("node-reuseport", "Node, plain SO_REUSEPORT; who dies is started again after 100 ms", (*Setup).overReuseport),
		plainNode("node-shared", "Node, one listener inherited by all; who dies is started again after 100 ms", (*Setup).overShared),
		sockdistNode("least", "sockdist-node", "Node under sockdist run"),
		sockdistNode("p2c", "sockdist-node-p2c", "Node under sockdist run, p2c"),
		sockdistNode("rr", "sockdist-node-rr", "Node under sockdist run, rr"),
		sockdistNode("random", "sockdist-node-random", "Node under sockdist run, random"),
		sockdistNode("hash", "sockdist-node-hash", "Node under sockdist run, hash"),
	}
}

// nodePeer is a file of bench/peers/node.
func (s *Setup) nodePeer(name string) string { return filepath.Join(s.Programs.Peers, "node", name) }

// nodeApp starts one worker.
func (s *Setup) nodeApp() Command { return Command{Args: []string{"node", s.nodePeer("app.js")}} }

func nodeCluster(name, title, scheduling string) *Contender {
	return &Contender{
		Name: name, Title: title, Family: Node, Needs: []string{"node"},
		Can: ofNode | Respawns | Reloads | Grows,
		Start: func(ctx context.Context, s *Setup) (*Fleet, error) {
			return s.nodeCluster(ctx, scheduling)
		},
	}
}

func (s *Setup) nodeCluster(ctx context.Context, scheduling string) (*Fleet, error) {
	port, err := freePort()
	if err != nil {
		return s.fail(err)
	}
	master, err := s.Start(Command{
		Args: []string{"node", s.nodePeer("cluster.js"), s.nodePeer("app.js"), strconv.Itoa(s.Workers)},
		Env:  []string{fmt.Sprintf("PORT=%d", port), "NODE_CLUSTER_SCHED_POLICY=" + scheduling},
	})
	if err != nil {
		return s.fail(err)
	}
	f := s.begun()
	f.Workers = master.below()
	f.Reload = f.reloadBy(master, unix.SIGHUP)
	f.Grow = f.growBy(master, unix.SIGTTIN)
	return s.ready(ctx, local(port))
}

func plainNode(name, title string, over func(*Setup, context.Context, Command) (*Fleet, error)) *Contender {
	return &Contender{
		Name: name, Title: title, Family: Node, Needs: []string{"node"},
		Can: ofNode | Respawns | Reloads | Grows,
		Start: func(ctx context.Context, s *Setup) (*Fleet, error) {
			return over(s, ctx, s.nodeApp())
		},
	}
}

func sockdistNode(policy, name, title string) *Contender {
	return &Contender{
		Name: name, Title: title, Family: Node, Needs: []string{"node"},
		Can: ofNode | Respawns | Reloads | Grows,
		Start: func(ctx context.Context, s *Setup) (*Fleet, error) {
			return s.underSockdist(ctx, policy, s.nodeApp())
		},
	}
}
