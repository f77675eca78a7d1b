package workload

import (
	"math"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		name         string
		all          []float64
		jain, spread float64
	}{
		{"all alike", []float64{5, 5, 5, 5}, 1, 1},
		{"one has it all", []float64{0, 8, 0, 0}, 0.25, 4},
		{"one has nothing", []float64{3, 3, 3, 0}, 0.75, 4. / 3},
		{"nobody has anything", []float64{0, 0}, 1, 1},
		{"one is twice as good", []float64{1, 2}, 0.9, 4. / 3},
	} {
		if j, s := jain(c.all), spread(c.all); math.Abs(j-c.jain) > 1e-9 || math.Abs(s-c.spread) > 1e-9 {
			t.Errorf("%s: Jain's index %v, max/mean %v; want %v, %v", c.name, j, s, c.jain, c.spread)
		}
	}
}

func TestCountsLeaveStrangersOut(t *testing.T) {
	if all := counts([]int{11, 12, 13}, map[int]int{12: 4, 11: 1, 99: 7}); len(all) != 3 || all[0] != 1 || all[1] != 4 || all[2] != 0 {
		t.Errorf("%v", all)
	}
}
