package config

import (
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

const (
	// MostBytes is the size of the largest file that is read.
	MostBytes = 256 << 10
	// MostNames is how many apps, groups and attachments there may be in all.
	MostNames = 512
)

// A File is a configuration that makes sense.
type File struct {
	Path      string
	Socket    Socket
	Operators Operators
	Apps      []App
	Groups    []Group
	Attach    []Attachment
}

// Socket is where the daemon takes requests.
type Socket struct {
	// Path is "" for the default, control in the runtime folder.
	Path string
	// Mode is that of the socket.
	Mode fs.FileMode
	// UID and GID own it; -1 leaves the owner, or group, as it is.
	UID, GID int
}

// Operators are who may operate the daemon and its apps, besides root and the
// daemon's own user.
type Operators struct {
	UIDs, GIDs []uint32
}

// App is an app, as sockdist run has one.
type App struct {
	Name string `json:"name"`
	Run
	// Activation is the FileDescriptorName= of its sockets of the service manager.
	Activation string `json:"activation"`

	Mark `json:"-"`
}

// Group is a group for workers that use the library.
type Group struct {
	Name   string         `json:"name"`
	Listen netip.AddrPort `json:"listen"`
	V6Only bool           `json:"v6only,omitempty"`
	Policy loader.Policy  `json:"policy"`
	Slots  int            `json:"slots"`
	// UIDs and GIDs may join, and root.
	UIDs []uint32 `json:"uids,omitempty"`
	GIDs []uint32 `json:"gids,omitempty"`
	// HangAfter is 0 for workers that never count as hung.
	HangAfter  time.Duration `json:"hang_after"`
	Activation string        `json:"activation"`

	Mark `json:"-"`
}

// Attachment is a running server that is steered, and watched.
type Attachment struct {
	Name    string          `json:"name"`
	Address sockets.Address `json:"address"`
	// Policy is nil for that which the group has.
	Policy *loader.Policy `json:"policy,omitempty"`
	PIDs   []int          `json:"pids,omitempty"`
	NetNS  string         `json:"netns,omitempty"`

	Mark `json:"-"`
}

// Load reads a file. Errors are [Problems], or what the system said.
func Load(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, MostBytes+1))
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Parse reads the text of a file. Its error is [Problems].
func Parse(path string, text []byte) (*File, error) {
	r := &reader{file: path, accounts: newAccounts()}
	f := &File{Path: path}
	if len(text) > MostBytes {
		r.problem(Mark{}, "", "the file has more than %d KiB: no configuration needs that much", MostBytes>>10)
	} else if root := r.parse(text); root != nil {
		r.readFile(f, place{node: root, mark: Mark{1, 1}})
		r.findConflicts(f)
	}
	if len(r.problems) > 0 {
		return nil, r.sorted()
	}
	return f, nil
}

func (r *reader) readFile(f *File, root place) {
	f.Socket = Socket{Mode: 0o660, UID: -1, GID: -1}
	r.object(root, fields{
		"socket":    func(p place) { r.readSocket(&f.Socket, p) },
		"operators": func(p place) { r.readOperators(&f.Operators, p) },
		"apps": func(p place) {
			r.entries(p, func(name string, p place) { f.Apps = append(f.Apps, r.readApp(name, p)) })
		},
		"groups": func(p place) {
			r.entries(p, func(name string, p place) { f.Groups = append(f.Groups, r.readGroup(name, p)) })
		},
		"attach": func(p place) {
			r.entries(p, func(name string, p place) { f.Attach = append(f.Attach, r.readAttachment(name, p)) })
		},
	})
	switch n := len(f.Apps) + len(f.Groups) + len(f.Attach); {
	case n == 0 && len(r.problems) == 0:
		r.problem(Mark{}, "", "there is nothing to do: name something under apps, groups or attach")
	case n > MostNames:
		r.problem(Mark{}, "", "%d apps, groups and attachments, at most %d are possible", n, MostNames)
	}
}

// Names are those of everything that is configured.
func (f *File) Names() (apps, groups, attach []string) {
	for _, a := range f.Apps {
		apps = append(apps, a.Name)
	}
	for _, g := range f.Groups {
		groups = append(groups, g.Name)
	}
	for _, a := range f.Attach {
		attach = append(attach, a.Name)
	}
	return apps, groups, attach
}

// SocketPath is where the daemon takes requests, given the runtime folder.
func (f *File) SocketPath(runtime string) string {
	if f.Socket.Path != "" {
		return f.Socket.Path
	}
	return fmt.Sprintf("%s/%s", runtime, SocketName)
}

// SocketName is what the daemon's socket is called in the runtime folder.
const SocketName = "control"

// AppsByName, GroupsByName and AttachByName are the units of a section.
func (f *File) AppsByName() map[string]App {
	return byName(f.Apps, func(a App) string { return a.Name })
}

func (f *File) GroupsByName() map[string]Group {
	return byName(f.Groups, func(g Group) string { return g.Name })
}

func (f *File) AttachByName() map[string]Attachment {
	return byName(f.Attach, func(a Attachment) string { return a.Name })
}

func byName[T any](units []T, name func(T) string) map[string]T {
	named := make(map[string]T, len(units))
	for _, u := range units {
		named[name(u)] = u
	}
	return named
}
