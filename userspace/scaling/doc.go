// Package scaling tells how many workers an app should have, from its measured
// load and from how much load one worker may carry.
//
// It goes up when the load was above the target for a few seconds, at once to as
// many workers as are needed, but at most to twice as many. It goes down one by
// one, when the load would be well below the target with one fewer, for half a
// minute. After each step it pauses. Load that comes and goes makes it slower to
// go down: each time that a step down has to be undone, the next has to wait twice
// as long. So it comes to rest at what the peaks need.
//
// The package decides, and does nothing: it reads no clock and starts no
// worker.
package scaling
