// Package ledger keeps the books of every single connection under load, so that
// a test or a measurement can say what a fault has cost, to the last one.
//
// A [Load] opens connections to a server at a steady rate, whether or not the
// server keeps up (open loop, Poisson arrivals, the same for the same seed).
// Each connection has a number, sends it, and expects it back together with the
// process that served it. [Start] begins, [Run.Finish] ends, and the [Book] has
// an [Entry] for every connection, in exactly one [Column].
//
// The servers write down what they accept: see [Records] for the format and
// [Server] for servers that do so. [Book.Balance] lays their records beside the
// client's, says for every loss whether it had been accepted and by whom, and
// lists whatever doesn't fit. A [Report] has it all, as a line, a table or JSON.
//
// All times are [Moment]s: CLOCK_MONOTONIC of this machine, in nanoseconds, so
// that a step of the wall clock changes nothing.
package ledger
