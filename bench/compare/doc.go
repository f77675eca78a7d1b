// Package compare finds what got worse from one run of the comparison to
// another. What is compared are ratios to a baseline of the same round, since
// absolute figures change with the machine.
package compare
