// Package health tells which workers hang, from two numbers that the kernel
// keeps for each slot: how many connections were ever established there, and
// how many of them wait in the accept queue. The difference is how many the
// worker has accepted. A worker that leaves connections waiting and accepts
// none of them hangs, whatever the reason: it is stopped, deadlocked, or
// computes forever. The worker has no part in it.
//
// The package decides, and does nothing: it reads no clock and no kernel, and
// ejecting is its caller's work.
//
// # Which readings to give
//
// One for each slot that takes connections, or would take them if it weren't
// ejected. Slots that drain, start, or have no socket are left out: a slot that
// is missing from a look is forgotten.
//
// Opened and Backlog can't be read at one moment. Read Opened of all slots
// first, and the backlogs right afterwards: then a connection that comes in
// between makes a worker seem to have accepted one fewer, and a hung worker
// never seems to make progress. One fewer for a look or two does no harm.
//
// # What is no alarm
//
// An idle worker has no backlog. A slow or overloaded one accepts now and then;
// once in Check's duration is enough. Time in which this process didn't run
// hardly counts, because the workers may not have run either: a step between
// two looks counts at most one and a half intervals, and one of more than three
// intervals starts all observations anew. Suspension of the machine is
// no step at all on CLOCK_MONOTONIC.
package health
