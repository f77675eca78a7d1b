package grpcworker

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc"

	"github.com/sockdist/sockdist/userspace/worker"
)

// Run listens at a TCP address as a worker and serves there, until SIGTERM,
// SIGINT or the end of ctx. Then it drains: no new connections are picked for this
// worker, those that wait are accepted, clients are asked to leave, and Run
// returns when the last RPC has ended. What lasts longer than the grace
// (worker.WithGrace) is cut off, and that is an error.
//
// The server must have been made with [ServerOptions]; it can't be used again.
func Run(ctx context.Context, address string, server *grpc.Server, opts ...worker.Option) error {
	l, err := worker.Listen(ctx, "tcp", address, opts...)
	if err != nil {
		return err
	}
	return l.Run(ctx, Server(server))
}

// Server is what (*worker.Listener).Run serves a gRPC server by: for programs
// that make their Listener themselves.
func Server(server *grpc.Server) worker.Server { return graceful{server} }

type graceful struct{ server *grpc.Server }

func (g graceful) Serve(l net.Listener) error {
	if err := g.server.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// Shutdown returns when the last RPC has ended. If ctx is over first, it stops
// the server, and returns the error of ctx.
func (g graceful) Shutdown(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		g.server.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		g.server.Stop()
		<-done
		return ctx.Err()
	}
}
