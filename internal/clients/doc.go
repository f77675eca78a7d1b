// Package clients holds and loads real servers for tests, and keeps account of
// every connection, so that a test can say which worker got which, and which
// were lost when.
//
// [Hold] opens connections, makes sure that each is served, and keeps them open
// until the test closes them or ends. [Load] opens a connection for each
// request and returns a [Ledger] with what became of every one.
//
// What clients ask, and what a good answer is, is a [Protocol]: [HTTP] unless
// told otherwise. Times are wall-clock times of this machine with a monotonic
// part; every wait is bounded by [Client.Timeout].
package clients
