// Package membership keeps the daemon's library groups: groups whose workers
// come by themselves, each with a [wire.Session], and are given a slot, a
// listener and the group's loads.
//
// # A worker's place
//
// One session is one slot. A process may have several, each with a listener of
// its own; there is no limit for a process, since one that may join may also
// fork: [Config.Slots] is the limit for all.
//
// The daemon makes the listener, so that its user, root mostly, owns it: nobody
// else can bind a socket beside it. It keeps no copy, for a copy would keep the
// queue of a dead worker. A worker that comes with a listener of its own has
// one from an earlier session, mostly: the same socket gets the same slot.
//
// A slot is freed when its worker says [wire.Quit], when its process has died
// (which is seen by a pidfd, with or without a session), or a few seconds after
// its listener was closed. The end of a session alone frees nothing: the worker
// may serve on. What waits in the queue of a listener that closes is moved by
// the kernel to the others.
//
// A handshake that ends in the very moment in which its listener closes is reset
// by the kernel. So a worker that leaves drains first: the reply to [wire.Drain]
// comes when nothing is under way to it any more, or after a second. Then
// it serves its queue out, closes, and quits.
//
// A process that has died leaves its listener behind if somebody else holds it,
// such as a process that it forked. Nobody is picked for it from then on, and
// unless that process joins with it within seconds, the listener is shut, for its
// queue to move.
//
// # With no workers
//
// the kernel refuses connections to the address, but nobody else can take it: a
// bound socket that doesn't listen holds the place. With [Config.Standby]
// connections wait at that socket until there is a worker.
//
// # Restarts
//
// All state is in the kernel. A daemon that is killed and started again goes on
// with the group that it finds: see [Open]. Picks, queues and workers don't notice.
//
// # Health
//
// A worker that leaves connections waiting and accepts none for
// [Config.HangAfter], or whose heartbeat in the loads stands still for as long
// after it had begun to beat, gets no more connections, and others get its
// queue, until it goes on. That undoes itself. Nobody is ejected when most look
// hung, nor one who only waits for a CPU.
//
// # A worker's reach
//
// It holds its listener and the loads of its group. With these it can
//
//   - write what load it likes, into the lines of the others too: so workers of
//     one group trust each other to tell the truth, or get a group each;
//   - close or shut its listener, or leave its queue: the kernel gives what
//     waits in a closed one to others, and one that hangs is ejected;
//   - take the program off the SO_REUSEPORT group (SO_DETACH_REUSEPORT_BPF), for
//     which the kernel asks no privilege of who has a socket of it. Then the
//     kernel's hash chooses, among the group's own workers, until the daemon
//     sees that connections come without picks, in a second or so, or somebody
//     joins: then the program is attached again. It can't attach one of its own:
//     the listener's filters are locked (SO_LOCK_FILTER, which its connections
//     inherit);
//   - freeze the loads (BPF_MAP_FREEZE), if it is the only one that has them: while
//     no daemon runs and no other worker has mapped them. Then the group can't be
//     opened any more, until its pins are removed.
//
// It can't read or change other groups, the counters, or programs.
package membership
