// Package worker makes a Go server a worker of sockdist: the kernel gives
// each new connection to the worker that has the least to do, by exact counts of
// connections and by what only the worker knows, its load.
package worker
