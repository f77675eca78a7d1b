package examples

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A load is clients that ask one thing after the other.
type load struct {
	answered atomic.Int64
	stop     context.CancelFunc
	clients  sync.WaitGroup

	mu   sync.Mutex
	errs []error
}

const clients = 8

func startLoad(t testing.TB, address string, newClient func(string) client) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{stop: stop}
	for range clients {
		l.clients.Go(func() { l.run(ctx, newClient(address)) })
	}
	t.Cleanup(func() { l.finish() })
	return l
}

// run goes on until the end or the first error.
func (l *load) run(ctx context.Context, c client) {
	defer c.close()
	for ctx.Err() == nil {
		// A question that was begun is waited for: only its own deadline ends it.
		own, cancel := context.WithTimeout(context.Background(), patience)
		err := c.ask(own)
		cancel()
		if err != nil {
			l.mu.Lock()
			l.errs = append(l.errs, err)
			l.mu.Unlock()
			return
		}
		l.answered.Add(1)
	}
}

func (l *load) await(t testing.TB, more int64) {
	t.Helper()
	want := l.answered.Load() + more
	await(t, "answers", func() bool { return l.answered.Load() >= want || l.failed() })
}

func (l *load) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.errs) > 0
}

// finish ends the clients, each after the answer that it waits for.
func (l *load) finish() []error {
	l.stop()
	l.clients.Wait()
	return l.errs
}

// turnedAway is what clients may see of a server that is gone: nobody is there
// any more. Whatever else is something that was lost.
func turnedAway(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) ||
		status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "connection refused") // of gRPC
}

// answers waits until a server answers.
func answers(t testing.TB, address string, newClient func(string) client) {
	t.Helper()
	var err error
	await(t, "an answer", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		c := newClient(address)
		defer c.close()
		err = c.ask(ctx)
		return err == nil
	})
}
