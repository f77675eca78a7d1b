package compare

import (
	"math"

	"github.com/sockdist/sockdist/bench/result"
)

// chance is how often a ratio that didn't change regresses nonetheless, with so
// many rounds in the old run and in the new one: all orders of the rounds'
// ratios are then equally likely, and in some the intervals don't touch. The
// threshold, which makes it rarer, isn't in it.
func chance(old, new int) (p float64) {
	if old < 2 || new < 2 {
		return 0
	}
	low := result.LeftOut(new) + 1    // the new one's value that must lie above
	high := old - result.LeftOut(old) // as many of the old
	for below := high; below <= old; below++ {
		p += choose(below+low-1, below) * choose(old-below+new-low, old-below)
	}
	return p / choose(old+new, old)
}

// choose is n over k.
func choose(n, k int) float64 {
	c := 1.0
	for i := range k {
		c *= float64(n-i) / float64(i+1)
	}
	return math.Round(c)
}
