package workload

import "github.com/sockdist/sockdist/bench/result"

// counts are what each of the workers has, in their order. Whoever isn't a
// worker, such as one that was killed, is left out.
func counts(workers []int, by map[int]int) []float64 {
	all := make([]float64, len(workers))
	for i, pid := range workers {
		all[i] = float64(by[pid])
	}
	return all
}

func sum(all []float64) (total float64) {
	for _, x := range all {
		total += x
	}
	return total
}

// jain is Jain's index: 1 when all have the same, 1/n when one has it all. Where
// nobody has anything, all have the same.
func jain(all []float64) float64 {
	squares := 0.0
	for _, x := range all {
		squares += x * x
	}
	if squares == 0 {
		return 1
	}
	return sum(all) * sum(all) / (float64(len(all)) * squares)
}

// spread is the most that one has over the mean: 1 when all have the same, n
// when one has it all.
func spread(all []float64) float64 {
	most := 0.0
	for _, x := range all {
		most = max(most, x)
	}
	if most == 0 {
		return 1
	}
	return most * float64(len(all)) / sum(all)
}

func mean(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	return sum(all) / float64(len(all))
}

// Columns about how evenly something is spread.
var (
	jainColumn   = result.Metric{Name: "jain", Title: "Jain's index", Higher: true}
	spreadColumn = result.Metric{Name: "spread", Title: "max/mean of the workers"}
)
