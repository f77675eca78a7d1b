package worker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Server is what [Listener.Run] runs: an *http.Server, or whatever has these two.
// Serve returns when Shutdown is called; Shutdown when all requests are finished, or ctx
// is over. If it has a method Close() error too, that is called when ctx is over.
type Server interface {
	Serve(net.Listener) error
	Shutdown(ctx context.Context) error
}

// Run listens at server.Addr (":http" if it is empty, ":https" with TLS), as
// [Listen] does, and runs the server, as [Listener.Run] does.
func Run(ctx context.Context, server *http.Server, opts ...Option) error {
	address := server.Addr
	switch {
	case address != "":
	case hasTLS(server):
		address = ":https"
	default:
		address = ":http"
	}
	l, err := Listen(ctx, "tcp", address, opts...)
	if err != nil {
		return err
	}
	return l.Run(ctx, server)
}

// linger is how long clients have to send one more request, whose response
// asks them to leave, until their idle connections are closed.
const linger = time.Second

// Run serves until ctx is done, or SIGTERM or SIGINT comes. Then it ends so that
// nothing is lost: it drains (see [Listener.Drain]) while it serves on; has every
// response say "Connection: close" (GOAWAY with HTTP/2), for a second or until all
// connections are gone; then shuts the server down, and waits for connections which
// were hijacked, such as WebSockets: a server that has those should end them by
// http.Server.RegisterOnShutdown. All that takes no longer than [WithGrace]; what is
// open by then is closed. A second signal does so at once.
//
// An *http.Server gets [Handler] around its own handler, and serves TLS if its
// TLSConfig has certificates.
//
// The result is nil if it ended that way, context.DeadlineExceeded if the grace was
// over, and the error of Serve if that returned by itself. The listener is closed.
func (l *Listener) Run(ctx context.Context, server Server) error {
	defer l.tasks.Wait()
	defer l.Close()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)

	served := make(chan error, 1)
	serve := l.serving(server)
	go func() { served <- serve() }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	case s := <-signals:
		l.log.Info("ending", "signal", s.String())
	}

	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.o.grace)
	defer cancel()
	stop := context.AfterFunc(grace, func() { closeServer(server) })
	defer stop()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ended:
		}
	}()
	return l.end(grace, server, served)
}

// serving is how the server serves here.
func (l *Listener) serving(server Server) func() error {
	web, ok := server.(*http.Server)
	if !ok {
		return func() error { return server.Serve(l) }
	}
	web.Handler = Handler(web.Handler)
	if hasTLS(web) {
		return func() error { return web.ServeTLS(l, "", "") }
	}
	return func() error { return web.Serve(l) }
}

func hasTLS(server *http.Server) bool {
	c := server.TLSConfig
	return c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil)
}

// end ends the server gently, within ctx.
func (l *Listener) end(ctx context.Context, server Server, served <-chan error) error {
	if err := l.Drain(ctx); err != nil {
		l.log.Warn("the drain didn't end in time", "error", err)
	}
	if !l.Steered() {
		l.turnAway() // clients that are asked to leave would come back to this very queue
	}
	l.leaving.Store(true)
	for _, c := range l.openConns() {
		c.tell()
	}
	l.awaitGone(ctx, min(linger, l.o.grace/4))
	if web, ok := server.(*http.Server); ok {
		web.SetKeepAlivesEnabled(false)
	}
	err := server.Shutdown(ctx)
	if err != nil {
		closeServer(server)
	}
	if failed := <-served; failed != nil && !errors.Is(failed, http.ErrServerClosed) && !errors.Is(failed, net.ErrClosed) {
		return failed
	}
	if err == nil && !l.awaitGone(ctx, l.o.grace) {
		err = ctx.Err()
	}
	for _, c := range l.openConns() {
		c.Close()
	}
	if errors.Is(err, context.Canceled) {
		return nil // it was told to hurry
	}
	return err
}

// awaitGone waits until no connection is open. It counts looks: while the machine stands
// still no client can use its chance.
func (l *Listener) awaitGone(ctx context.Context, most time.Duration) bool {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	return l.awaitGoneBy(ctx, ticker.C, int(most/look))
}

// awaitGoneBy waits for so many looks.
func (l *Listener) awaitGoneBy(ctx context.Context, looks <-chan time.Time, most int) bool {
	for ; l.openCount() > 0; most-- {
		if most <= 0 {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-looks:
		}
	}
	return true
}

// closeServer doesn't wait for requests.
func closeServer(server Server) {
	if s, ok := server.(interface{ Close() error }); ok {
		_ = s.Close()
	}
}
