package grpcworker

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"

	"github.com/sockdist/sockdist/userspace/worker"
)

// ServerOptions are what a gRPC server needs to be a worker. They include its
// transport credentials; nil: no TLS. A stats handler of the program's own is
// to be passed beside them, as usual. Connections that came through no
// [worker.Listener] are served as ever.
func ServerOptions(c credentials.TransportCredentials) []grpc.ServerOption {
	return []grpc.ServerOption{grpc.StatsHandler(counter{}), grpc.Creds(Credentials(c))}
}

// Credentials does what c does, and has the clients asked to leave when the
// worker wants it. nil: no TLS. It is part of ServerOptions.
func Credentials(c credentials.TransportCredentials) credentials.TransportCredentials {
	if c == nil {
		c = insecure.NewCredentials()
	}
	return asking{c}
}

type asking struct {
	credentials.TransportCredentials
}

func (a asking) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	upper, info, err := a.TransportCredentials.ServerHandshake(raw)
	of := worker.ConnOf(raw)
	if err != nil || of == nil {
		return upper, info, err
	}
	c := &conn{Conn: upper}
	of.OnLeaving(func() { c.leave() })
	return c, info, nil
}

func (a asking) Clone() credentials.TransportCredentials {
	return asking{a.TransportCredentials.Clone()}
}

// counter counts RPCs at the connection that they came through.
type counter struct{}

type connKey struct{}

func (counter) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connKey{}, worker.Lookup(info.LocalAddr))
}

func (counter) HandleConn(context.Context, stats.ConnStats) {}

func (counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (counter) HandleRPC(ctx context.Context, s stats.RPCStats) {
	c, _ := ctx.Value(connKey{}).(*worker.Conn)
	switch s.(type) {
	case *stats.Begin:
		c.Begin()
	case *stats.End:
		c.End()
	}
}
