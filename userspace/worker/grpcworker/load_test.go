package grpcworker

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
)

// A load is clients that call without pause, unary and with streams.
type load struct {
	done    atomic.Int64 // calls
	stop    context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	errs []error
}

// startLoad starts clients; each has a connection of its own, with four calls at
// once.
func startLoad(t testing.TB, address string, clients int, c credentials.TransportCredentials) *load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{stop: stop}
	for range clients {
		_, client := dial(t, address, c)
		for i := range 4 {
			call := unary
			if i == 3 {
				call = duplex
			}
			l.running.Go(func() { l.run(ctx, client, call) })
		}
	}
	t.Cleanup(func() { l.finish() })
	return l
}

// run goes on until the end or the first error. A call that was begun goes on to its end.
func (l *load) run(ctx context.Context, client grpc_testing.TestServiceClient, call func(context.Context, grpc_testing.TestServiceClient) error) {
	for ctx.Err() == nil {
		own, cancel := context.WithTimeout(context.Background(), patience)
		err := call(own, client)
		cancel()
		if err != nil {
			l.mu.Lock()
			l.errs = append(l.errs, err)
			l.mu.Unlock()
			return
		}
		l.done.Add(1)
	}
}

func (l *load) failed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.errs)
}

func (l *load) await(t testing.TB, more int64) {
	t.Helper()
	want := l.done.Load() + more
	await(t, "calls", func() bool { return l.done.Load() >= want || l.failed() > 0 })
}

func (l *load) finish() []error {
	l.stop()
	l.running.Wait()
	return l.errs
}

func unary(ctx context.Context, client grpc_testing.TestServiceClient) error {
	const size = 20_000
	r, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseSize: size})
	if err == nil && len(r.Payload.Body) != size {
		err = fmt.Errorf("%d bytes", len(r.Payload.Body))
	}
	return err
}

func duplex(ctx context.Context, client grpc_testing.TestServiceClient) error {
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for i := range 20 {
		body := fmt.Sprint(i)
		if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: []byte(body)}}); err != nil {
			_, err = stream.Recv() // tells why
			return err
		}
		r, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if string(r.Payload.Body) != body {
			return fmt.Errorf("message %d: %q", i, r.Payload.Body)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("end of the stream: %w", err)
	}
	return nil
}
