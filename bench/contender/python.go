package contender

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// pythons are the contenders that run the apps of bench/peers/python.
func pythons() []*Contender {
	return []*Contender{
		{
			Name: "gunicorn", Title: "gunicorn's own workers", Family: Python, Needs: []string{"gunicorn"},
			Can:   Works | Serial | Keeps | Slows | Respawns | Reloads | Grows,
			Start: func(ctx context.Context, s *Setup) (*Fleet, error) { return s.gunicorn(ctx) },
		},
		{
			Name: "sockdist-gunicorn", Title: "gunicorn with one worker, under sockdist run", Family: Python, Needs: []string{"gunicorn"},
			Can:   Works | Serial | Keeps | Slows | Respawns | Reloads | Grows,
			Start: func(ctx context.Context, s *Setup) (*Fleet, error) { return s.sockdistGunicorn(ctx) },
		},
		{
			Name: "uvicorn", Title: "uvicorn's own workers", Family: Python, Needs: []string{"uvicorn"},
			Can:   Works | Keeps | Slows,
			Start: func(ctx context.Context, s *Setup) (*Fleet, error) { return s.uvicorn(ctx) },
		},
		{
			Name: "sockdist-uvicorn", Title: "uvicorn under sockdist run", Family: Python, Needs: []string{"uvicorn"},
			Can: Works | Keeps | Slows | Respawns | Reloads | Grows,
			Start: func(ctx context.Context, s *Setup) (*Fleet, error) {
				return s.underSockdist(ctx, "least", s.uvicornCommand("{port}"))
			},
		},
	}
}

func (s *Setup) pythonPeer(name string) string {
	return filepath.Join(s.Programs.Peers, "python", name)
}

// bare keeps Python from writing beside the apps.
const bare = "PYTHONDONTWRITEBYTECODE=1"

func (s *Setup) gunicornCommand(env ...string) Command {
	env = append(env, bare)
	if s.Serial {
		env = append(env, "SERIAL=1")
	}
	return Command{Args: []string{"gunicorn", "--config", s.pythonPeer("gunicorn.conf.py")}, Env: env}
}

func (s *Setup) gunicorn(ctx context.Context) (*Fleet, error) {
	port, err := freePort()
	if err != nil {
		return s.fail(err)
	}
	master, err := s.Start(s.gunicornCommand("WORKERS="+strconv.Itoa(s.Workers), fmt.Sprintf("PORT=%d", port)))
	if err != nil {
		return s.fail(err)
	}
	f := s.begun()
	f.Workers = master.below()
	f.Reload = f.reloadBy(master, unix.SIGHUP)
	f.Grow = f.growBy(master, unix.SIGTTIN)
	return s.ready(ctx, local(port))
}

// sockdistGunicorn is n gunicorns, each with a master that listens and a worker
// that serves.
func (s *Setup) sockdistGunicorn(ctx context.Context) (*Fleet, error) {
	f, err := s.underSockdist(ctx, "least", s.gunicornCommand("WORKERS=1"))
	if err != nil {
		return nil, err
	}
	f.Workers = below(f.Workers)
	if err := f.await(ctx, s.Workers); err != nil {
		return s.fail(err)
	}
	return f, nil
}

// uvicornCommand follows what uvicorn's documentation says about production:
// uvloop and httptools, which it takes by itself where they are installed.
func (s *Setup) uvicornCommand(port string, args ...string) Command {
	return Command{
		Args: append([]string{
			"uvicorn", "--app-dir", s.pythonPeer(""), "--host", "0.0.0.0", "--port", port,
			"--backlog", "4096", "--timeout-keep-alive", "3600", "--no-access-log", "--log-level", "warning",
		}, append(args, "asgi:app")...),
		Env: []string{bare},
	}
}

// uvicorn shares one listener among its workers. This version of it neither
// starts workers again nor replaces them.
func (s *Setup) uvicorn(ctx context.Context) (*Fleet, error) {
	port, err := freePort()
	if err != nil {
		return s.fail(err)
	}
	master, err := s.Start(s.uvicornCommand(strconv.Itoa(port), "--workers", strconv.Itoa(s.Workers)))
	if err != nil {
		return s.fail(err)
	}
	s.begun().Workers = master.below()
	return s.ready(ctx, local(port))
}
