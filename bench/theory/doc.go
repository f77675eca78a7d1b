// Package theory is what is known of queues beforehand, so that the comparison
// can prove itself: formulas for Poisson arrivals and exponential service times,
// the exact recursion for whatever was sent, and checks of a real server against
// both. Before that, calibration finds out for how much longer than asked a
// worker is kept.
//
// Floats are seconds, or rates per second.
package theory
