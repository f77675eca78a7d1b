package grpcworker

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/sockdist/sockdist/userspace/worker"
)

// Calls in flight are the load, by the kind that was chosen, and in the end none is left.
func TestLoadIsCalls(t *testing.T) {
	secret, trust := secrets(t)
	for name, c := range map[string]struct {
		kind           worker.LoadKind
		want           int64
		server, client credentials.TransportCredentials
	}{
		"in flight":      {worker.InFlight, 6, nil, nil},
		"excess":         {worker.Excess, 4, nil, nil},
		"manual":         {worker.Manual, 0, nil, nil},
		"in flight, tls": {worker.InFlight, 6, secret, trust},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{hold: make(chan struct{})}
			l := listen(t, worker.WithLoad(c.kind))
			serve(t, l, s, ServerOptions(c.server)...)
			errs := make(chan error)
			for range 2 { // connections
				_, client := dial(t, l.Addr().String(), c.client)
				for range 3 {
					go func() {
						_, err := client.EmptyCall(t.Context(), &grpc_testing.Empty{})
						errs <- err
					}()
				}
			}
			await(t, "the load of six calls", func() bool { return l.Load().Value() == c.want && s.waiting.Load() == 6 })
			close(s.hold)
			for range 6 {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			await(t, "no load", func() bool { return l.Load().Value() == 0 })
		})
	}
}

// A call whose client goes away is no load any more.
func TestLoadOfCancelledCalls(t *testing.T) {
	l := listen(t, worker.WithLoad(worker.InFlight))
	serve(t, l, &service{}, ServerOptions(nil)...)
	conn, client := dial(t, l.Addr().String(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 10 {
		of := ctx
		if i >= 5 {
			of = t.Context()
		}
		if _, err := client.FullDuplexCall(of); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "ten streams", func() bool { return l.Load().Value() == 10 })
	cancel()
	await(t, "five streams", func() bool { return l.Load().Value() == 5 })
	conn.Close()
	await(t, "no streams", func() bool { return l.Load().Value() == 0 })
}

// When Run ends, calls of all kinds that have begun are answered. Others find nobody.
func TestRunLosesNoCall(t *testing.T) {
	for range 5 {
		l := listen(t)
		server := grpc.NewServer(ServerOptions(nil)...)
		grpc_testing.RegisterTestServiceServer(server, &service{})
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx, Server(server)) }()
		load := startLoad(t, l.Addr().String(), 6, nil)
		load.await(t, 200)
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		await(t, "clients that find nobody", func() bool { return load.failed() == 6*4 })
		for _, err := range load.finish() {
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("lost: %v", err)
			}
		}
	}
}

// What lasts longer than the grace is cut off, and that is told.
func TestRunCutsOff(t *testing.T) {
	l := listen(t, worker.WithGrace(500*time.Millisecond))
	server := grpc.NewServer(ServerOptions(nil)...)
	grpc_testing.RegisterTestServiceServer(server, &service{})
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, Server(server)) }()
	_, client := dial(t, l.Addr().String(), nil)
	stream, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // only now it is sure that the call has come to the server
		t.Fatal(err)
	}
	end()
	if err := <-done; err == nil {
		t.Error("no error")
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream: %v", err)
	}
}

// Connections that didn't come through a Listener of ours are served, too.
func TestStranger(t *testing.T) {
	l := listen(t)
	serve(t, stranger{l}, &service{}, ServerOptions(nil)...)
	_, client := dial(t, l.Addr().String(), nil)
	if err := unary(t.Context(), client); err != nil {
		t.Error(err)
	}
	if n := l.Load().Value(); n != 0 {
		t.Errorf("load %d", n)
	}
}
