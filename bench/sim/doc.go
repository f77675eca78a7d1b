// Package sim is a discrete-event simulation of workers behind one port, which
// drives the very selection code of bpf/: select.h and handshake.h, compiled for
// this machine by cgo. What the programs do around a pick (end of a handshake,
// close, migration, a worker's coming and going) is in programs.h, with the name of
// what each function mirrors.
//
// Workers serve one request at a time, first come first served, each from a queue
// of its own. Connections arrive at random moments (Poisson), whatever becomes of
// those before. Contenders get the same connections at the same moments, and what
// they make of them is compared with one queue for all workers, from which who is
// free takes the next: M/G/n.
//
// All times are in mean service times if nothing else is said. Without cgo the
// package compiles and simulates nothing: see ErrNoCompiler.
package sim
