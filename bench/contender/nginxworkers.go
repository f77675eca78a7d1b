package contender

import "context"

// nginxes answer with the process ID by themselves: nginx's own workers, as
// they are, and steered.
func nginxes() []*Contender {
	return []*Contender{
		nginxWorkers("nginx-reuseport", "nginx's workers, reuseport", ""),
		nginxWorkers("nginx-attached", "nginx's workers, sockdist attach", "least"),
	}
}

// nginxWorkers are steered if there is a policy.
func nginxWorkers(name, title, policy string) *Contender {
	return &Contender{
		Name:   name,
		Title:  title,
		Family: Nginx,
		Needs:  []string{"nginx"},
		Can:    Keeps | Respawns | Reloads,
		Start: func(ctx context.Context, s *Setup) (*Fleet, error) {
			f, err := s.startNginxWorkers(ctx)
			if err != nil || policy == "" {
				return f, err
			}
			if err := s.attach(ctx, f, policy); err != nil {
				return s.fail(err)
			}
			return f, nil
		},
	}
}

func (s *Setup) startNginxWorkers(ctx context.Context) (*Fleet, error) {
	port, err := freePort()
	if err != nil {
		return s.fail(err)
	}
	path, err := s.nginxWorkersConfig(port)
	if err != nil {
		return s.fail(err)
	}
	master, err := s.Start(Command{Args: nginxCommand(path)})
	if err != nil {
		return s.fail(err)
	}
	f := s.begun()
	f.Workers = func() ([]int, error) { return children(master.PID) }
	f.Reload = func(ctx context.Context) error { return renewWorkers(ctx, master, s.Workers) }
	return s.ready(ctx, local(port))
}

func (s *Setup) nginxWorkersConfig(port int) (path string, err error) {
	descriptors, err := descriptors()
	if err != nil {
		return "", err
	}
	text, err := s.render("nginx/workers.conf", map[string]any{
		"Port":        port,
		"Workers":     s.Workers,
		"Descriptors": descriptors,
		"Connections": min(descriptors-spare, 16384),
	})
	if err != nil {
		return "", err
	}
	return s.Config("workers.conf", text)
}
