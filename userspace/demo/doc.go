// Package demo shows in ten seconds what steering does: a few small workers of
// uneven speed serve two ports each, one left to the kernel's hash and one
// steered by policy least, under the same load at the same time.
//
// A worker serves one connection at a time on each port, as a single-threaded
// server does, and sleeps for the service time: it costs no CPU that the other
// side would miss. Arrivals are Poisson and the same on both sides. A
// connection's latency counts from the moment at which it was due (open loop),
// so waiting that the client itself does is not hidden.
package demo
