// Command grpc is a gRPC server as a worker. It has the standard health service,
// so that grpcurl and the like can ask it something.
//
//	go run ./grpc -listen 127.0.0.1:50051
package main

import (
	"context"
	"flag"
	"log"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sockdist/sockdist/userspace/worker"
	"github.com/sockdist/sockdist/userspace/worker/grpcworker"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:50051", "address")
	flag.Parse()

	server := grpc.NewServer(grpcworker.ServerOptions(nil)...) // they count RPCs, the load of this worker
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	// It joins its group, serves until SIGTERM, and ends when all RPCs did. A client
	// sends all through one connection: with too much of that, it is asked to come
	// again, by GOAWAY.
	if err := grpcworker.Run(context.Background(), *listen, server, worker.WithRebalance(worker.Rebalance{})); err != nil {
		log.Fatal(err)
	}
}
