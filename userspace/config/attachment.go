package config

import (
	"math"
)

// readAttachment reads what sockdist attach would be told.
func (r *reader) readAttachment(name string, p place) Attachment {
	a := Attachment{Name: name, Mark: p.mark}
	r.checkName(name, p)
	given := false
	isObject := r.object(p, fields{
		"address": func(p place) {
			given = true
			a.Address, _ = r.address(p)
		},
		"policy": func(p place) {
			if policy, ok := r.policy(p); ok {
				a.Policy = &policy
			}
		},
		"netns": func(p place) { set(&a.NetNS)(r.word(p)) },
		"pids": func(p place) {
			elements, _ := r.list(p, "[4711]")
			for _, e := range elements {
				if pid, ok := r.number(e, 1, math.MaxInt32); ok {
					a.PIDs = append(a.PIDs, pid)
				}
			}
		},
	})
	if isObject && !given {
		r.wrong(p, "has no address: say where the server listens, such as address: \":443\"")
	}
	return a
}
