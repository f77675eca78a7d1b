// Package control supervises an app: several copies of one server, each in a
// cgroup leaf of its own, whose listening sockets share their connections.
//
// A [Supervisor] starts the workers, gives each of their listening sockets a
// slot on the kernel side, starts again what dies, and ends everything in
// order. It isn't on the way of any connection: while it is stopped, or after
// kill -9, workers serve and the kernel picks as before.
//
// # The kernel side
//
// The package declares what it needs of it as the interface [Kernel]; the
// folder controltest has an implementation that only takes notes.
//
// # Who lives how long
//
//	the cgroup tree    from before the first worker to after the last process
//	a worker           until it dies by itself, or Run ends; it outlives a
//	                   supervisor that is killed, on purpose: no Pdeathsig
//	the output relay   a process that reads what workers print, until the last
//	                   writer is gone (see the folder output)
//	our copy of a      for the length of one Adopt: a copy that stays would
//	worker's listener  keep the listener of a dead worker open, and then the
//	                   kernel wouldn't give its queue to the others
//
// # Restarts
//
// A worker that dies starts again after 100 ms, then twice as long each time,
// at most 15 s; after 30 s of life it is 100 ms again. When every worker has
// died three times in its first 3 s and none ever listened, Run ends with a
// [StartError].
//
// # The end
//
// SIGTERM or SIGINT (see [Supervisor.Signal]) begins it:
//
//  1. All slots drain. As there is no slot left that doesn't, new connections
//     still go to draining ones: a load balancer that doesn't know yet gets
//     answers, not refusals. Dead workers don't start again.
//  2. Wait until no connection is left, for [Config.Grace] at most. A second
//     signal ends this wait.
//  3. SIGTERM to the main process of each worker. What it leaves in its leaf
//     gets SIGTERM when it is gone, or after half of [Config.StopTimeout].
//     From here on clients see what the server makes of its SIGTERM; a server
//     that does nothing about it resets its connections.
//  4. SIGKILL to what is left after StopTimeout. A third signal does it now.
//  5. Groups, hooks and cgroups are removed.
package control
