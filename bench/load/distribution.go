package load

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// A Distribution is of service times. The mean of each is 1.
type Distribution string

// Distributions. Bimodal is nine short ones to one that is eleven times as long.
// HeavyTailed is a bounded Pareto: few very long ones make up most of the work.
const (
	Fixed       Distribution = "fixed"
	Exponential Distribution = "exponential"
	Bimodal     Distribution = "bimodal"
	HeavyTailed Distribution = "heavy-tailed"
)

// Distributions are all of them, the tamest first.
var Distributions = []Distribution{Fixed, Exponential, Bimodal, HeavyTailed}

// Draw draws one. It panics with a distribution that there is not.
func (d Distribution) Draw(r *rand.Rand) float64 {
	switch d {
	case Fixed:
		return 1
	case Exponential:
		return r.ExpFloat64()
	case Bimodal:
		return bimodal(r.Float64())
	case HeavyTailed:
		return pareto(r.Float64()) / paretoMean
	}
	panic(fmt.Sprintf("no distribution is called %q", string(d)))
}

func bimodal(u float64) float64 {
	if u < 0.9 {
		return 0.5
	}
	return 5.5
}

// The bounded Pareto, from 1 to paretoMax.
const (
	paretoAlpha = 1.5
	paretoMax   = 1000
)

// paretoBelow is the share of the Pareto that the bound leaves.
var paretoBelow = 1 - math.Pow(paretoMax, -paretoAlpha)

var paretoMean = paretoAlpha / (paretoAlpha - 1) * (1 - math.Pow(paretoMax, 1-paretoAlpha)) / paretoBelow

// pareto inverts its distribution function at u.
func pareto(u float64) float64 { return math.Pow(1-u*paretoBelow, -1/paretoAlpha) }
