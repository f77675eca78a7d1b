package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/wire"
)

// runtimeVariable names the environment variable for another runtime folder.
const runtimeVariable = "SOCKDIST_RUNTIME_DIR"

// ask has the supervisor of an app do something, and shows how it goes.
func (e *environment) ask(ctx context.Context, app string, request wire.Request) error {
	if strings.Contains(app, "/") { // it would name another folder's socket
		return usagef("%s: %q can't be the name of an app", request.Verb, app)
	}
	say := func(text string) { fmt.Fprintf(e.out, "%s: %s\n", app, text) }
	err := wire.Call(ctx, control.Socket(e.getenv(runtimeVariable), app), request, say)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, wire.ErrNobody) {
		err = e.askDaemon(ctx, app, request, say, err)
	}
	var refused *wire.Refusal
	switch {
	case errors.Is(err, wire.ErrNobody):
		return e.explainNobody(app, err)
	case errors.Is(err, fs.ErrPermission):
		return explainClosed(request.Verb+" of another user's app", err)
	case errors.As(err, &refused):
		return &refusedError{app: app, verb: request.Verb, Refusal: refused}
	case errors.Is(err, wire.ErrGone):
		return fmt.Errorf("%s %s: %w: its workers serve on; start sockdist run --name %s … again to take them over", request.Verb, app, err, app)
	}
	return err
}

// askDaemon is for who isn't permitted to the app's own socket, as operators of
// sockdist serve aren't, and for an app of the daemon that doesn't run. It returns
// the error from before if there is no such daemon.
func (e *environment) askDaemon(ctx context.Context, app string, request wire.Request, say func(string), before error) error {
	if wire.Call(ctx, e.daemonSocket(), wire.Request{Verb: wire.Ping, App: app}, nil) != nil {
		return before
	}
	request.App = app
	return wire.Call(ctx, e.daemonSocket(), request, say)
}

// explainNobody says why nobody answers for the app.
func (e *environment) explainNobody(app string, err error) error {
	state, stateErr := e.readStatus(app)
	if stateErr != nil && hasWorkers(app) {
		return fmt.Errorf("the supervisor of app %s is gone, and so are its pins, its workers serve on: start sockdist run --name %s … again, which takes them over: %w", app, app, err)
	}
	if stateErr != nil {
		return stateErr
	}
	for _, a := range state.Apps {
		if a.Name == app && a.PID != 0 {
			return fmt.Errorf("app %s is supervised by process %d, which takes no requests: %w", app, a.PID, err)
		}
		if a.Name == app {
			return fmt.Errorf("the supervisor of app %s is gone, its workers serve on: start sockdist run --name %s … again, which takes them over: %w", app, app, err)
		}
	}
	return fmt.Errorf("%s is no app of sockdist run, so nobody supervises it: %w", app, err)
}

// A refusedError is what a supervisor answered.
type refusedError struct {
	app, verb string
	*wire.Refusal
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("%s: %s", strings.TrimSpace(e.verb+" "+e.app), e.Text)
}
