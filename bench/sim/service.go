package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// A Service is how long a worker takes for a connection, as a random number of
// mean 1. All distributions are defined here, and nowhere else in the simulation.
type Service struct {
	Name string
	draw func(*rand.Rand) float64
}

// Two kinds of connections of bimodal: of ten, nine short ones and a long one.
const (
	shortService = 0.5
	longService  = 5.5
	longShare    = 0.1
)

// Of heavy: a bounded Pareto distribution.
const (
	heavyAlpha = 1.5
	heavyRange = 1000 // the longest ÷ the shortest
)

var services = []Service{
	{"fixed", func(*rand.Rand) float64 { return 1 }},
	{"exponential", (*rand.Rand).ExpFloat64},
	{"bimodal", drawBimodal},
	{"heavy", drawHeavy},
}

// Services lists the distributions' names: fixed (always 1), exponential, bimodal
// (0.5 with probability 0.9, else 5.5) and heavy (a Pareto distribution of α 1.5,
// bounded so that the longest is 1000 times the shortest).
func Services() (names []string) {
	for _, s := range services {
		names = append(names, s.Name)
	}
	return names
}

// ParseService finds a distribution by its name.
func ParseService(name string) (Service, error) {
	for _, s := range services {
		if s.Name == name {
			return s, nil
		}
	}
	return Service{}, fmt.Errorf("service %q: use one of %s", name, strings.Join(Services(), ", "))
}

func drawBimodal(r *rand.Rand) float64 {
	if r.Float64() < longShare {
		return longService
	}
	return shortService
}

// heavyShortest makes the mean 1.
var heavyShortest = (1 - math.Pow(heavyRange, -heavyAlpha)) * (heavyAlpha - 1) / heavyAlpha /
	(1 - math.Pow(heavyRange, 1-heavyAlpha))

// drawHeavy inverts the distribution function.
func drawHeavy(r *rand.Rand) float64 {
	u := r.Float64() * (1 - math.Pow(heavyRange, -heavyAlpha))
	return heavyShortest * math.Pow(1-u, -1/heavyAlpha)
}
