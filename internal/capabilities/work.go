package capabilities

// A Work is something that sockdist does and that takes capabilities.
type Work int

const (
	Steer      Work = iota // make groups, steer, count, tell who steers
	Hook                   // hook what an app's workers bind
	Deafen                 // keep connections from listeners that have no slot yet
	Present                // make a listener one's own
	Fetch                  // fetch sockets of processes that may more, or have another user
	Look                   // look which descriptors other users' processes have
	Become                 // start workers as another user
	Signal                 // end workers of another user
	Give                   // give the control socket to another user or group
	Listen                 // listen on ports below 1024
	Namespaces             // go into other network namespaces
	Mount                  // mount bpffs
	Closed                 // use folders that are closed to the own user

	works
)

// A Need is one capability that a work takes.
type Need struct {
	Capability
	Why string // as in "to …"
}

// needs is what all documentation and every check goes by; tests take each of
// them away.
var needs = [works][]Need{
	Steer:      {{BPF, "load BPF programs and make maps"}, {PerfMon, "count connections at a tracepoint, and read who steers"}},
	Hook:       {{NetAdmin, "hook what workers bind"}},
	Deafen:     {{NetAdmin, "keep connections away from listeners without a slot (SO_ATTACH_FILTER, in some kernels)"}},
	Present:    {{Chown, "make listeners its own of workers that came before it"}},
	Fetch:      {{SysPtrace, "fetch listeners of processes that have another user, or capabilities that this one hasn't"}},
	Look:       {{DACReadSearch, "see which descriptors processes of other users have"}},
	Become:     {{SetUID, "start workers as another user"}, {SetGID, "start workers with that user's groups"}, {Chown, "give workers of another user their output"}},
	Signal:     {{Kill, "send signals to workers of another user"}},
	Give:       {{Chown, "give the control socket to another user or group"}},
	Listen:     {{NetBindService, "listen on ports below 1024"}},
	Namespaces: {{SysAdmin, "enter other network namespaces"}},
	Mount:      {{SysAdmin, "mount bpffs"}},
	Closed:     {{DACOverride, "use folders that are closed to this user"}},
}

// Needs are the capabilities that a work takes.
func (w Work) Needs() []Need { return needs[w] }

// For is the set that some works take together.
func For(some ...Work) (s Set) {
	for _, w := range some {
		for _, n := range needs[w] {
			s |= Of(n.Capability)
		}
	}
	return s
}

// All are the capabilities that any work takes.
func All() (s Set) {
	for w := range works {
		s |= For(w)
	}
	return s
}
