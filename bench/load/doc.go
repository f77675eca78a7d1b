// Package load is the load generator of the comparison: when connections come,
// what they ask for, and clients that are cheap and exact enough for what they
// measure.
//
// A client is one thread with bare sockets and an epoll loop. It sleeps with a
// timer slack of 1 ns, and uses a few system calls a connection; a goroutine and
// a net.Conn for each would cost more than some servers do. Many clients may run
// at once, each on a thread of its own. Open ones go ahead of everybody else on
// their CPU.
//
// Latency counts from the moment at which a request was due, not from when the
// client got to it: what waits because others are slow counts as waiting
// (otherwise a server that stalls would seem to be asked less).
//
// Times are since the start of a run. Connections to 127.0.0.1 come from many
// addresses of 127.0.0.0/8, since the ports of one would be gone within seconds.
package load
