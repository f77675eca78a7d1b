package daemon

import (
	"log/slog"
	"os"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/membership"
)

// A Kernel is the kernel side of one app.
type Kernel interface {
	control.Kernel
	// SetPolicy is for groups that come to be from now on.
	SetPolicy(loader.Policy)
}

// Options say what a daemon is to work with. All fields but Manager, Sockets and
// OpenGroup are needed.
type Options struct {
	// File is the configuration, which was read from its path.
	File *config.File
	// Runtime is the folder of the apps' state, the lock and the memory.
	Runtime string
	Host    *loader.Host
	// Kernel makes the kernel side of an app.
	Kernel func(policy loader.Policy, udp bool, log *slog.Logger) Kernel
	// Relay is the command that reads what an app's workers print, see
	// [control.Config.Relay].
	Relay func(app string) []string
	// Manager is the service manager; nil for none.
	Manager control.Manager
	// Sockets are those of the service manager.
	Sockets []Socket
	Logger  *slog.Logger

	// Settled, if not nil, is called once, when the control socket is there and
	// before anything else is.
	Settled func()
	// MayApply, if not nil, says why a configuration can't be applied, though
	// it is right.
	MayApply func(*config.File) error

	// ReadyWithin bounds how long the service manager waits for units that don't
	// get ready; 0 for a minute.
	ReadyWithin time.Duration
}

// A Socket is one that the service manager listens on.
type Socket struct {
	// Name is the FileDescriptorName= of its unit: control, or what a unit of
	// the configuration has for its activation, by default its name.
	Name string
	File *os.File
}

// ControlName is the name of the socket of the service manager on which the
// daemon takes requests.
const ControlName = "control"

func (o *Options) complete() {
	if o.ReadyWithin == 0 {
		o.ReadyWithin = time.Minute
	}
	if o.Manager == nil {
		o.Manager = nobody{}
	}
}

// called returns the sockets of a name.
func (o *Options) called(name string) (files []*os.File) {
	for _, s := range o.Sockets {
		if s.Name == name && name != ControlName {
			files = append(files, s.File)
		}
	}
	return files
}

// A library group is package membership's.
var openGroup = membership.Open
