package worker_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/sockdist/sockdist/userspace/worker"
)

func listen(t testing.TB, address string, opts ...worker.Option) *worker.Listener {
	t.Helper()
	opts = append([]worker.Option{quiet(t), worker.WithSocket("")}, opts...)
	l, err := worker.Listen(context.Background(), "tcp", address, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// quiet has the library log into the test's own log.
func quiet(t testing.TB) worker.Option {
	return worker.WithLogger(slog.New(slog.NewTextHandler(output{t}, nil)))
}

// output is the test's log, which must not be written when the test is over.
type output struct{ t testing.TB }

func (o output) Write(text []byte) (int, error) {
	if o.t.Context().Err() == nil {
		o.t.Logf("%s", text)
	}
	return len(text), nil
}

// eventually waits for a condition, as long as any machine may need.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("it never came true that %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
