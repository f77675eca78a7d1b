package contender

import (
	"context"
	"fmt"
	"time"
)

// startHAProxy has it in the foreground, with its sockets in the setup's folder.
func startHAProxy(ctx context.Context, f *front) (*Fleet, error) {
	if err := f.write(); err != nil {
		return f.setup.fail(err)
	}
	h := haproxy{front: f, admin: admin{folder: f.setup.Folder}}
	fleet := f.setup.begun()
	fleet.Reload, fleet.Grow = h.reload, h.grow
	return f.run(ctx, "haproxy", "-db", "-f", f.path)
}

// serverOptions are those of each server, also of one that is added later.
func (f *front) serverOptions() string {
	options := "check inter 1s fastinter 100ms downinter 100ms fall 2 rise 1 observe layer4 error-limit 1"
	if f.queues {
		options += " maxconn 1"
	}
	if f.config == "haproxy/http.cfg" {
		options += fmt.Sprintf(" pool-low-conn %d", 2*f.setup.cpus())
	}
	return options
}

type haproxy struct {
	*front
	admin admin
}

// reload takes one server after the other out, and back when it is new: drain
// keeps new connections away from it, and maint has its restart seen by no
// check.
func (h haproxy) reload(ctx context.Context) error {
	for _, b := range h.backends.list() {
		if err := h.renew(ctx, b); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (h haproxy) renew(ctx context.Context, b *backend) error {
	if err := h.admin.do("set server workers/%s state drain", b.Name); err != nil {
		return err
	}
	if err := h.drained(ctx, b); err != nil {
		return err
	}
	if err := h.admin.do("set server workers/%s state maint", b.Name); err != nil {
		return err
	}
	if err := h.backends.replace(ctx, b); err != nil {
		return err
	}
	return h.admin.do("set server workers/%s state ready", b.Name)
}

// drained waits until a server has no connections, not longer than for the
// grace.
func (h haproxy) drained(ctx context.Context, b *backend) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for ctx.Err() == nil {
		pause(ctx, 10*time.Millisecond) // for a connection that was on its way
		n, err := h.admin.sessions(b.Name)
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// grow adds a server to the one that runs, which takes no reload. Such a server
// begins in maintenance, and doesn't know of default-server.
func (h haproxy) grow(ctx context.Context) error {
	b, err := h.backends.add(ctx)
	if err != nil {
		return err
	}
	if err := h.admin.do("add server workers/%s 127.0.0.1:%d %s", b.Name, b.Port, h.serverOptions()); err != nil {
		return err
	}
	if err := h.admin.do("enable health workers/%s", b.Name); err != nil {
		return err
	}
	return h.admin.do("enable server workers/%s", b.Name)
}
