// Package worker makes a Go server a worker of sockdist: the kernel gives each
// new connection to the worker that has the least to do, by exact counts of
// connections and by what only the worker itself knows, its load.
//
// # What it guarantees
//
//   - With or without a daemon the server serves. Where nothing steers (no daemon,
//     another operating system), a Listener is an ordinary one, says so once, and
//     the same binary runs. It never panics or exits for want of sockdist.
//   - A daemon that dies takes nothing along: picks, queues and loads are in the
//     kernel. The Listener joins again by itself when the daemon is back.
//   - A load is exact, whatever goroutines add to it and however often the worker
//     joins, and publishing it is one atomic operation on a cache line of the
//     worker's own: no system call, no lock, no allocation.
//   - [Run] ends a server by SIGTERM so that no connection is reset and no request
//     lost: neither those in the accept queue, nor those in flight, nor those that
//     keep-alive clients send within the next second.
//   - It needs no privilege: a joined worker holds its listener and the loads of its
//     group, and nothing else.
//
// # Use
//
// One line, instead of http.ListenAndServe:
//
//	err := worker.Run(ctx, &http.Server{Addr: ":8080", Handler: mux})
//
// or, for any server that takes a [net.Listener]:
//
//	l, err := worker.Listen(ctx, "tcp", ":8080")
//	…
//	go server.Serve(l)
//	…
//	err = l.Drain(ctx) // out of the picks, and the accept queue served out
//	err = server.Shutdown(ctx)
//
// # Environment
//
//	SOCKDIST_SOCKET   the control socket to join through. `sockdist run` sets it for its
//	                  workers; set it to /run/sockdist/control where `sockdist serve`
//	                  runs. Without it a listener is an ordinary one.
//	SOCKDIST_GROUP    the group to join, by its name. Without it the address that is
//	                  listened at decides.
//
// A worker that finds nobody there takes the address for itself, and joins with its
// listener, which then becomes the daemon's, within some seconds of the daemon's start.
// Connections that it has by then are not counted.
//
// # Load
//
// A worker's score is (connections + pending + load) / weight. The kernel counts
// connections, the load is the worker's. By default the library counts: requests in
// flight beyond one a connection ([Excess]), which matters where one connection carries
// many, with HTTP/2 and gRPC. [Handler] does it for net/http;
// userspace/worker/grpcworker for gRPC; any other server calls [Conn.Begin] and
// [Conn.End], and gets at the [Conn] by [ConnOf] or [Lookup]:
//
//	fasthttp:   c := worker.Lookup(ctx.LocalAddr()); c.Begin(); defer c.End()
//	            if c.Leaving() { ctx.SetConnectionClose() }
//	WebSocket:  c := worker.ConnOf(conn.NetConn()), then Begin and End around each message
//	gRPC:       worker.Lookup(info.LocalAddr) in stats.Handler.TagConn
//
// [WithSchedulerLatency] adds how long goroutines wait for a processor. Programs may
// add what they like: see [Load]. Only the policies least and p2c look at loads.
//
// # Heartbeat
//
// A joined worker counts up a word in shared memory, every 100 ms, but only if it gets
// on. All of these must hold:
//
//   - A goroutine of the library was woken up, went to the end of the scheduler's queue
//     and came to its turn.
//   - Connections don't wait in the accept queue for more than a second while none is
//     accepted.
//   - With [WithStall]: if requests are in flight, one was finished or a connection
//     accepted within that time.
//
// So the daemon sees a worker that hangs while nobody connects. A worker that drains
// has no heartbeat. An idle worker pays 2 ms of CPU a second for it (0.2 % of one),
// half of which is what any Go program pays for a timer of 100 ms.
//
// # Lifetimes
//
// A Listener lives until Close; Drain and Close are the way out, and a drained one
// doesn't come back. Its Load may be used for ever. A Conn lives until its Close, and
// its Begin and End may still be called afterwards. The library's goroutines (one for
// the daemon, one for the heartbeat, none per connection) end by Close, at most two
// seconds later if the daemon doesn't answer.
//
// # Costs
//
// On a Xeon of 2.6 GHz: [Load.Set] 1.3 ns; [Load.Add], [Load.Inc] and [Load.Done] 6.7 ns,
// of which the locked instruction itself takes 6.3; Handler 27 ns and no allocation a
// request, 7 ns for one that came through no Listener. Neighbours' updates cost nothing
// measurable. `make bench-load` measures it.
package worker
