package config

import (
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/userspace/control"
)

// readApp reads the settings of an app.
func (r *reader) readApp(name string, p place) App {
	a := App{Name: name, Run: DefaultRun(), Activation: name, Mark: p.mark}
	marks := make(map[string]place) // of the settings
	keep := func(read func(place)) func(place) {
		return func(p place) {
			marks[lastOf(p.key)] = p
			read(p)
		}
	}
	text := func(to *string) func(place) {
		return keep(func(p place) { set(to)(r.text(p)) })
	}
	word := func(to *string) func(place) {
		return keep(func(p place) { set(to)(r.word(p)) })
	}
	flag := func(to *bool) func(place) {
		return keep(func(p place) { set(to)(r.flag(p)) })
	}
	pause := func(to *time.Duration) func(place) {
		return keep(func(p place) { set(to)(r.duration(p)) })
	}
	known := fields{
		"command": keep(func(p place) { a.Command = r.readCommand(p) }),
		"workers": word(&a.Workers), "policy": text(&a.Policy), "user": word(&a.User),
		"ports": keep(func(p place) { a.Ports = r.readPorts(p) }),
		"env":   keep(func(p place) { a.Env = r.readEnv(p) }),
		"pin":   flag(&a.Pin), "udp": flag(&a.UDP), "take-over": flag(&a.TakeOver), "log": text(&a.Log),
		"grace": pause(&a.Grace), "ready": text(&a.Ready), "ready-timeout": pause(&a.ReadyTimeout),
		"hang-after": pause(&a.HangAfter), "hang-grace": pause(&a.HangGrace), "on-hang": text(&a.OnHang),
		"memory-max": word(&a.MemoryMax), "scale-at": word(&a.ScaleAt),
		"min": keep(func(p place) { set(&a.Min)(r.number(p, 1, control.MaxWorkers)) }),
		"max": keep(func(p place) { set(&a.Max)(r.number(p, 1, control.MaxWorkers)) }),

		"activation": text(&a.Activation),
	}
	if !r.object(p, known) {
		return a
	}
	if _, given := marks["command"]; !given {
		r.wrong(p, "has no command: say what to run, such as command: [node, /srv/app.js]")
	}
	at := func(key string) place {
		if where, given := marks[key]; given {
			return where
		}
		return p
	}
	r.judgeApp(a, at)
	return a
}

// judgeApp finds what is wrong with the settings that could be read, and with
// all of them together.
func (r *reader) judgeApp(a App, at func(key string) place) {
	_, faults := a.Read(a.Name)
	for _, fault := range faults {
		r.wrong(at(fault.Key), "%v", fault.Err)
	}
	if !slices.ContainsFunc(faults, func(f Fault) bool { return f.Key == "name" }) {
		if err := cgroup.CheckName(a.Name); err != nil {
			r.wrong(at("name"), "%v", err)
		}
	}
	if a.User != "" {
		if err := control.CheckUser(a.User); err != nil {
			r.wrong(at("user"), "%v", err)
		}
	}
	if a.ScaleAt == "" && (a.Min != 0 || a.Max != 0) {
		key := "min"
		if a.Min == 0 {
			key = "max"
		}
		r.wrong(at(key), "is for an app that scales by itself: say at which load (scale-at), or leave it out")
	}
	if a.Min > a.Max && a.Max != 0 {
		r.wrong(at("min"), "%d is more than max, which is %d", a.Min, a.Max)
	}
}

// set returns what stores a value that could be read.
func set[T any](to *T) func(T, bool) {
	return func(value T, ok bool) {
		if ok {
			*to = value
		}
	}
}

func (r *reader) readCommand(p place) (command []string) {
	elements, ok := r.list(p, "[node, /srv/app.js]")
	if ok && len(elements) == 0 {
		r.wrong(p, "is empty: say what to run, such as [node, /srv/app.js]")
	}
	for i, e := range elements {
		word, ok := r.word(e)
		if ok && i == 0 && word == "" {
			r.wrong(e, "is empty: name a program")
		}
		command = append(command, word)
	}
	return command
}

func (r *reader) readPorts(p place) (ports []string) {
	elements, _ := r.list(p, "[8080]")
	for _, e := range elements {
		if port, ok := r.number(e, 1, 65535); ok {
			ports = append(ports, itoa(port))
		}
	}
	return ports
}

// readEnv takes NAME: VALUE, or a list of NAME=VALUE as on the command line.
func (r *reader) readEnv(p place) (env []string) {
	if _, isList := p.node.(*ast.SequenceNode); isList {
		elements, _ := r.list(p, "")
		for _, e := range elements {
			if text, ok := r.text(e); ok {
				env = append(env, text)
			}
		}
		return env
	}
	r.entries(p, func(name string, p place) {
		if isScalar(p.node) {
			p.mark = markOf(p.node)
		}
		if value, ok := r.word(p); ok {
			env = append(env, name+"="+value)
		}
	})
	return env
}

func (r *reader) duration(p place) (time.Duration, bool) {
	text, ok := r.word(p)
	if !ok {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		r.wrong(p, "%q is no time: write a number with its unit, such as 500ms, 30s or 2m", text)
		return 0, false
	}
	return d, true
}
