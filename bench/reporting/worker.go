package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/sockdist/sockdist/userspace/worker"
)

// The bench's own workers learn from their environment what they are.
const (
	workerVariable  = "REPORTING_WORKER"  // what it reports
	addressVariable = "REPORTING_ADDRESS" // where it listens
	loopsVariable   = "REPORTING_LOOPS"   // of real work in a microsecond; 0: simulated
	slowVariable    = "REPORTING_SLOW"    // how much longer the worker in slot 0 takes
)

// A reporter is a way to join. Workers that differ in it differ in nothing else.
type reporter struct {
	name string
	// variable is its name in the environment.
	variable string
	options  []worker.Option
	// steered says that a worker joins by the library. The other way, sockdist
	// run puts the listener into a slot as that of any server.
	steered bool
}

var (
	connections = reporter{"connections alone", "none", []worker.Option{worker.WithSocket("")}, false}
	zero        = reporter{"+ a load of 0", "zero", []worker.Option{worker.WithLoad(worker.Manual)}, true}
	excess      = reporter{"+ Excess", "excess", []worker.Option{worker.WithLoad(worker.Excess)}, true}
	inFlight    = reporter{"+ InFlight", "inflight", []worker.Option{worker.WithLoad(worker.InFlight)}, true}
	latency     = reporter{"+ scheduler latency", "latency", []worker.Option{worker.WithLoad(worker.Manual), worker.WithSchedulerLatency(time.Millisecond)}, true}
	both        = reporter{"+ InFlight + latency", "both", []worker.Option{worker.WithLoad(worker.InFlight), worker.WithSchedulerLatency(time.Millisecond)}, true}
	letsGo      = reporter{"rebalance on", "letsgo", []worker.Option{worker.WithRebalance(worker.Rebalance{})}, true}
	keeps       = reporter{"rebalance off", "keeps", nil, true}
)

var reporters = []reporter{connections, zero, excess, inFlight, latency, both, letsGo, keeps}

// beWorker is a worker's life.
func beWorker() error {
	s, err := newService()
	if err != nil {
		return err
	}
	how := os.Getenv(workerVariable)
	for _, r := range reporters {
		if r.variable != how {
			continue
		}
		server := &http.Server{Handler: worker.Handler(s), Protocols: new(http.Protocols)}
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetUnencryptedHTTP2(true)
		quiet := worker.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil)))
		l, err := worker.Listen(context.Background(), "tcp4", os.Getenv(addressVariable), append(r.options, quiet)...)
		if err != nil {
			return err
		}
		if r.steered && !l.Steered() {
			return fmt.Errorf("%s: it has not joined", r.name)
		}
		return l.Run(context.Background(), server)
	}
	return fmt.Errorf("%s=%s: there is no such reporter", workerVariable, how)
}
