// Package loader owns everything of sockdist that lives in the kernel: it loads
// the BPF programs, pins them, attaches them, gives slots to sockets and reads
// the counts. Nothing else in the project touches a BPF object.
//
// All state is in the kernel, pinned under a folder of bpffs (mode 0700):
//
//	sockdist/v2/
//	  host/            one a host: counts connections, wherever they live
//	    account …      links: tp_btf/inet_sock_set_state, twice (see bpf/account.h)
//	    origins        socket-local storage: which slot a listener belongs to
//	    moved          connections that were migrated from an accept queue
//	    probes         connections under way to a chosen slot
//	    groups, apps   maps of maps: index -> a group's slots, an app's events
//	    generation     the last generation number given to a slot
//	  groups/NAME/     one a group
//	    steer          program: sk_reuseport/migrate
//	    steer_before   the one before, after a Host.Refresh
//	    sockets        the slots' listening sockets
//	    slots          counters, states, hints, policy: struct group of bpf/abi.h
//	    loads          what workers publish
//	  apps/NAME/       one an app
//	    bind4 …        links of the bind and connect hooks on the app's cgroup
//	    app, events    its configuration, its ring buffer
//	  tmp/             what is being built; whatever stands there is left over
//
// Another version of sockdist with another layout has a folder of its own beside
// it (sockdist/v1): see Earlier. One with the same layout: see Host.Refresh.
//
// # Guarantees
//
// A group or app is built in tmp/ and committed by one rename, under an
// exclusive lock on the folder that the kernel gives up with the process. A
// process killed at any point leaves the old state or the new one; the next
// call that changes something clears tmp/. No process has to stay: programs go
// on picking and counting for as long as the pins are there.
//
// Changes of policy, weight, maximum and state are stores into memory shared
// with the programs. They take effect with the next connection; none is lost.
//
// # What holds what
//
// Sockets hold the program that steers them, and it holds the group's maps: picks
// go on whatever becomes of the pins, for as long as a listener lives. Accounting
// and hooks are held by their pins, and by an App that is open. If the pins are
// removed, or bpffs is unmounted (which removes them, also when it is mounted
// again), and nobody has an App open, then
//
//   - connections are still steered and served, and queues of closed listeners
//     still move;
//   - the counts stand still: `least` goes by what it knew, and by pending picks;
//   - workers that start can't share their port any more, and no event comes;
//   - each call that changes something fails with fs.ErrNotExist, or, for the
//     folder of a bpffs that isn't mounted, with EINVAL. Lost tells before.
//
// To repair it: Unsteer and Close the group, create it anew, Add each listener
// (for a moment the kernel may answer ErrSteered, until it has freed the old
// array), Steer, Adopt.
//
// On a bpffs that is mounted read-only, what is open can still be changed; to
// open or make something fails with EROFS.
//
// # Privileges
//
// Groups need CAP_BPF and CAP_PERFMON, apps CAP_NET_ADMIN, too; pins of other
// users CAP_DAC_OVERRIDE; mounting bpffs, and telling whose program steers where
// it isn't the group's present one, CAP_SYS_ADMIN. See docs/SECURITY.md.
//
// Errors wrap the sentinels of errors.go, or those of package io/fs where a
// name does not exist or exists already.
package loader
