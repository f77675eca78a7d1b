package contender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// pm2Folder is where make deps puts PM2.
const pm2Folder = "bench/peers/node/node_modules/pm2"

// pm2 runs in the foreground, as pm2-runtime: the same daemon, which is the
// master of Node's cluster module, but a process that one can wait for.
func pm2() *Contender {
	return &Contender{
		Name: "pm2", Title: "PM2, cluster mode", Family: Node, Needs: []string{"node", pm2Folder},
		Can:   ofNode | Respawns | Reloads | Grows,
		Start: func(ctx context.Context, s *Setup) (*Fleet, error) { return s.pm2(ctx) },
	}
}

func (s *Setup) pm2(ctx context.Context) (*Fleet, error) {
	port, err := freePort()
	if err != nil {
		return s.fail(err)
	}
	// Not in the setup's folder, whose path may be too long for a socket's.
	home, err := os.MkdirTemp("", "pm2-")
	if err != nil {
		return s.fail(err)
	}
	env := []string{
		"PM2_HOME=" + home, "PM2_DISABLE_VERSION_CHECK=1",
		"APP=" + s.nodePeer("app.js"), "INSTANCES=" + strconv.Itoa(s.Workers), fmt.Sprintf("PORT=%d", port),
	}
	f := s.begun()
	f.ends = append(f.ends, func() error { return os.RemoveAll(home) })
	daemon, err := s.Start(Command{Args: s.pm2Command("pm2-runtime", "start", s.nodePeer("ecosystem.config.js")), Env: env})
	if err != nil {
		return s.fail(err)
	}
	f.ends = append(f.ends, func() error {
		err := daemon.Signal(unix.SIGTERM)
		daemon.awaitEnd(3 * time.Second)
		// Who still is there would write into its folder while that is removed.
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return errors.Join(err, s.Leaf.Kill(), s.Leaf.WaitEmpty(ctx))
	})
	f.Workers = daemon.below()
	f.Reload = f.pm2Reload(s.pm2Command("pm2", "reload", "app"), env)
	f.Grow = f.pm2Grow(s.pm2Command("pm2", "scale", "app", "+1"), env)
	return s.ready(ctx, local(port))
}

func (s *Setup) pm2Command(name string, args ...string) []string {
	return append([]string{s.nodePeer("node_modules/.bin/" + name)}, args...)
}

// pm2Reload and pm2Grow run the command line outside of the fleet's cgroup. It
// would start a daemon there if there were none.
func (f *Fleet) pm2Reload(command, env []string) func(context.Context) error {
	return f.pm2Verb(command, env, f.replaced)
}

func (f *Fleet) pm2Grow(command, env []string) func(context.Context) error {
	return f.pm2Verb(command, env, f.grown)
}

func (f *Fleet) pm2Verb(command, env []string, await func(context.Context, []int) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := f.Alive(); err != nil {
			return err
		}
		before, err := f.Workers()
		if err != nil {
			return err
		}
		if err := runVerb(ctx, command, env...); err != nil {
			return err
		}
		return await(ctx, before)
	}
}
