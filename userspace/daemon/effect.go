package daemon

import (
	"reflect"
	"strings"

	"github.com/sockdist/sockdist/userspace/config"
)

// An effect is what a changed setting of an app takes.
type effect int

const (
	// another supervisor takes the workers over
	replace effect = 1 << iota
	// … and then starts each of them anew
	reload
	// more workers, or fewer
	scale
	// the groups' policy
	policy
	// the end of the app, and a new beginning
	restart
)

// effects are those of the settings by their keys.
var effects = map[string]effect{
	"command": reload, "pin": reload, "env": reload, "memory-max": reload, "log": reload,
	"workers": scale, "policy": policy,
	"ports": restart, "udp": restart, "activation": restart,
	"user":  restart, // only sockets of one user share a port
	"grace": replace, "ready": replace, "ready-timeout": replace, "hang-after": replace, "on-hang": replace, "hang-grace": replace,
	"scale-at": replace, "min": replace, "max": replace, "take-over": replace,
}

// A difference is what is not the same in two configurations of an app.
type difference struct {
	keys    []string
	effects effect
}

func (d difference) has(e effect) bool { return d.effects&e != 0 }

// words lists the keys.
func (d difference) words() string { return strings.Join(d.keys, ", ") }

func compareApps(from, to config.App) (d difference) {
	if from.Activation != to.Activation {
		d.keys, d.effects = append(d.keys, "activation"), restart
	}
	one, other := reflect.ValueOf(from.Run), reflect.ValueOf(to.Run)
	for i := range one.NumField() {
		if reflect.DeepEqual(one.Field(i).Interface(), other.Field(i).Interface()) {
			continue
		}
		key, _, _ := strings.Cut(one.Type().Field(i).Tag.Get("json"), ",")
		d.keys = append(d.keys, key)
		d.effects |= effects[key]
	}
	if d.has(scale) && to.ScaleAt != "" { // the number that it begins with, and a bound
		d.effects |= replace
	}
	return d
}

// what says what will be done.
func (d difference) what() string {
	var parts []string
	switch {
	case d.has(restart):
		return "it ends and starts anew, its port is closed meanwhile"
	case d.has(reload):
		parts = append(parts, "its workers are replaced one after the other")
	case d.has(replace):
		parts = append(parts, "its workers stay")
	}
	if d.has(scale) {
		parts = append(parts, "it is scaled")
	}
	if d.has(policy) {
		parts = append(parts, "its groups get the policy")
	}
	return strings.Join(parts, ", ")
}
