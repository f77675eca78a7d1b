// Package grpcworker makes a gRPC server a worker of sockdist: the server counts
// its RPCs in the load of its [worker.Listener], asks clients to leave when
// the worker has more than its share, and ends without a failed RPC.
//
//	server := grpc.NewServer(grpcworker.ServerOptions(nil)...)
//	pb.RegisterThingServer(server, thing{})
//	err := grpcworker.Run(ctx, ":50051", server, worker.WithRebalance(worker.Rebalance{}))
//
// The package is a module of its own, so that gRPC is the dependency of those
// alone who use it.
//
// # How a client is asked to leave
//
// A gRPC client keeps one connection and sends everything through it, so the
// choice of a worker is made once. What makes the client choose again is a
// GOAWAY: it begins new RPCs on a new connection, and the old one ends with
// its last RPC. gRPC has no call that sends one on a single connection. (Its
// keepalive.ServerParameters.MaxConnectionAge sends one on each connection of
// some age, however busy the worker is. It goes together with this package.)
// So the credentials of this package follow the frames that the server writes,
// and put the GOAWAY between two of them. It names the greatest stream there
// is, and therefore takes nothing back that is on its way.
package grpcworker
