package contender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// startNginx has it in front of servers.
func startNginx(ctx context.Context, f *front) (*Fleet, error) {
	if err := f.write(); err != nil {
		return f.setup.fail(err)
	}
	n := nginx{f}
	fleet := f.setup.begun()
	fleet.Reload, fleet.Grow = n.reload, n.grow
	return f.run(ctx, nginxCommand(f.path)...)
}

// nginxCommand has nginx write beside its configuration. The log has to be
// named on the command line too: nginx opens that of the system before it reads
// any configuration.
func nginxCommand(config string) []string {
	folder := filepath.Dir(config)
	return []string{"nginx", "-e", filepath.Join(folder, "error.log"), "-p", folder, "-c", config}
}

// streamModule is where Debian has the module, whose nginx isn't built with it;
// "" if there is none.
func streamModule() string {
	const path = "/usr/lib/nginx/modules/ngx_stream_module.so"
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

type nginx struct{ *front }

// reload starts new servers on ports of their own, tells nginx of them, and
// ends the old ones when its old workers are gone: without a subscription,
// nginx has no way to drain a server, and its documentation changes the
// configuration.
func (n nginx) reload(ctx context.Context) error {
	old := n.backends.list()
	for range old {
		if _, err := n.backends.add(ctx); err != nil {
			return err
		}
	}
	if err := n.tell(ctx, n.backends.list()[len(old):]); err != nil {
		return err
	}
	n.backends.remove(old)
	return nil
}

func (n nginx) grow(ctx context.Context) error {
	if _, err := n.backends.add(ctx); err != nil {
		return err
	}
	return n.tell(ctx, n.backends.list())
}

// tell has nginx know some of the servers, and no others.
func (n nginx) tell(ctx context.Context, servers []*backend) error {
	if err := n.rewrite(servers); err != nil {
		return err
	}
	return renewWorkers(ctx, n.process, n.setup.cpus())
}

// renewWorkers is nginx -s reload of a master: n new workers, and the old ones
// end when their connections do, but after worker_shutdown_timeout at most.
func renewWorkers(ctx context.Context, master *Process, n int) error {
	old, err := children(master.PID)
	if err != nil {
		return err
	}
	if err := master.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for ctx.Err() == nil {
		pids, err := children(master.PID)
		if err != nil {
			return err
		}
		if len(pids) >= n && !slices.ContainsFunc(pids, func(pid int) bool { return slices.Contains(old, pid) }) {
			return nil
		}
		pause(ctx, 10*time.Millisecond)
	}
	return fmt.Errorf("nginx keeps its old workers: %w", errors.Join(ctx.Err(), master.Ended()))
}
