package contender

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"text/template"

	"golang.org/x/sys/unix"
)

// proxies are those that stand in front of servers, each with a port of its
// own. A keeper starts a server that died again, as an init system would.
func proxies() (all []*Contender) {
	for _, servers := range []proxied{proxiedNode(), proxiedGo()} {
		for _, p := range []proxy{
			{name: "haproxy-tcp", title: "HAProxy, TCP, leastconn", program: "haproxy", start: startHAProxy, config: "haproxy/tcp.cfg"},
			{name: "haproxy-queue", title: "HAProxy, TCP, its own queue (maxconn 1)", program: "haproxy", start: startHAProxy, config: "haproxy/tcp.cfg", queues: true},
			{name: "haproxy-http", title: "HAProxy, HTTP, leastconn", program: "haproxy", start: startHAProxy, config: "haproxy/http.cfg"},
			{name: "nginx-stream", title: "nginx stream, least_conn", program: "nginx", start: startNginx, config: "nginx/stream.conf"},
			{name: "nginx-http", title: "nginx http, least_conn", program: "nginx", start: startNginx, config: "nginx/http.conf"},
			{name: "nginx-http-keepalive", title: "nginx http, least_conn, keepalive", program: "nginx", start: startNginx, config: "nginx/http-keepalive.conf"},
		} {
			if !p.queues || servers.can.Has(Serial) {
				all = append(all, p.before(servers))
			}
		}
	}
	return all
}

// proxied is what stands behind a proxy.
type proxied struct {
	family  Family
	needs   []string
	can     Ability
	command func(s *Setup) []string
}

func proxiedNode() proxied {
	return proxied{family: Node, needs: []string{"node"}, command: func(s *Setup) []string { return s.nodeApp().Args }}
}

func proxiedGo() proxied {
	return proxied{family: Go, can: Serial, command: func(s *Setup) []string {
		if s.Serial {
			return []string{s.Programs.Server, "-serial"}
		}
		return []string{s.Programs.Server}
	}}
}

// A proxy passes connections or requests on.
type proxy struct {
	name, title string
	program     string
	config      string // below bench/peers
	queues      bool   // gives a server one connection at a time, whatever the server would take
	start       func(context.Context, *front) (*Fleet, error)
}

func (p proxy) before(servers proxied) *Contender {
	return &Contender{
		Name:   p.name + "-" + string(servers.family),
		Title:  p.title,
		Family: servers.family,
		Needs:  append([]string{p.program}, servers.needs...),
		Can:    servers.can | Works | Keeps | Upgrades | Slows | Respawns | Reloads | Grows,
		Start: func(ctx context.Context, s *Setup) (*Fleet, error) {
			return p.open(ctx, s, servers.command(s))
		},
	}
}

// open starts the servers, and then the proxy, so that it finds them all.
func (p proxy) open(ctx context.Context, s *Setup, server []string) (*Fleet, error) {
	port, err := freePort()
	if err != nil {
		return s.fail(err)
	}
	b := s.newBackends(server)
	for range s.Workers {
		if _, err := b.add(ctx); err != nil {
			return s.fail(err)
		}
	}
	f := s.begun()
	f.Address, f.Workers = local(port), b.workers
	return p.start(ctx, &front{proxy: p, setup: s, backends: b})
}

// A front is a proxy that runs.
type front struct {
	proxy
	setup    *Setup
	backends *backends
	process  *Process
	path     string // of its configuration
}

// run starts the proxy, and waits until it answers.
func (f *front) run(ctx context.Context, args ...string) (*Fleet, error) {
	var err error
	if f.process, err = f.setup.Start(Command{Args: args}); err != nil {
		return f.setup.fail(err)
	}
	return f.setup.ready(ctx, f.setup.begun().Address)
}

// write writes the configuration for the first time.
func (f *front) write() error {
	text, err := f.render(f.backends.list())
	if err != nil {
		return err
	}
	f.path, err = f.setup.Config(filepath.Base(f.config), text)
	return err
}

// rewrite puts other servers into it. The results show the first one alone,
// which differs in ports.
func (f *front) rewrite(servers []*backend) error {
	text, err := f.render(servers)
	if err != nil {
		return err
	}
	return os.WriteFile(f.path, []byte(text), 0o644)
}

func (f *front) render(servers []*backend) (string, error) {
	descriptors, err := descriptors()
	if err != nil {
		return "", err
	}
	return f.setup.render(f.config, map[string]any{
		"Descriptors":   descriptors,
		"Connections":   min(descriptors-spare, 32768),
		"Pairs":         (descriptors - spare) / 2,
		"Port":          f.setup.begun().Address.Port(),
		"CPUs":          f.setup.cpus(),
		"Backends":      servers,
		"Idle":          max(32, 2*len(servers)),
		"ServerOptions": f.serverOptions(),
		"StreamModule":  streamModule(),
	})
}

// render fills in a template of bench/peers.
func (s *Setup) render(name string, data any) (string, error) {
	path := filepath.Join(s.Programs.Peers, name)
	t, err := template.New(filepath.Base(path)).Option("missingkey=error").ParseFiles(path)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, data); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return text.String(), nil
}

// cpus is how many the setup may use.
func (s *Setup) cpus() int {
	if s.CPUs == nil {
		return runtime.NumCPU()
	}
	return s.CPUs.Count()
}

// spare descriptors are for what isn't a client's connection.
const spare = 500

// descriptors is how many a process that is started here may have open.
func descriptors() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return min(limit.Max, 65536), nil
}

// environment is the app's, to listen on a port.
func environment(port int) []string { return []string{"PORT=" + strconv.Itoa(port)} }
