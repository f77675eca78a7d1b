package config

import (
	"io/fs"
	"path/filepath"
	"strconv"
)

// longestPath is how long the path of a socket can be, in bytes.
const longestPath = 107

func (r *reader) readSocket(s *Socket, p place) {
	r.object(p, fields{
		"path": func(p place) {
			path, ok := r.text(p)
			switch {
			case !ok:
			case !filepath.IsAbs(path):
				r.wrong(p, "%q: must begin with /", path)
			case len(path) > longestPath:
				r.wrong(p, "has %d bytes, and the path of a socket at most %d", len(path), longestPath)
			default:
				s.Path = filepath.Clean(path)
			}
		},
		"mode": func(p place) {
			text, ok := r.word(p)
			if !ok {
				return
			}
			mode, err := strconv.ParseUint(text, 8, 32)
			if err != nil || mode > 0o777 {
				r.wrong(p, "%s: must be octal, such as \"0660\"", text)
				return
			}
			s.Mode = fs.FileMode(mode)
		},
		"owner": func(p place) { s.UID = r.id(p, r.accounts.user) },
		"group": func(p place) { s.GID = r.id(p, r.accounts.group) },
	})
}

// id reads one user or group; -1 if there is none.
func (r *reader) id(p place, find func(string) (uint32, error)) int {
	name, ok := r.word(p)
	if !ok {
		return -1
	}
	id, err := find(name)
	if err != nil {
		r.wrong(p, "%v", err)
		return -1
	}
	return int(id)
}

func (r *reader) readOperators(o *Operators, p place) {
	r.object(p, fields{
		"users":  func(p place) { o.UIDs = r.ids(p, "[alice]", r.accounts.user) },
		"groups": func(p place) { o.GIDs = r.ids(p, "[adm]", r.accounts.group) },
	})
}
