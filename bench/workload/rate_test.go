package workload

import (
	"testing"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
)

// Each family, with its baseline and somebody else, at a tiny length.
func TestRateMeasures(t *testing.T) {
	for _, family := range rateFamilies {
		t.Run(string(family.family), func(t *testing.T) {
			e := newEnv(t)
			const tiny, greatest, common = 100 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond
			r := &rating{baseline: family.baseline, lengths: rateLengths{tiny, tiny, greatest, common}, warm: map[*contender.Fleet]bool{}}
			for _, c := range some(t, family.baseline, family.quick[len(family.quick)/2]) {
				s, err := r.measure(t.Context(), e, c, Round{Seed: 1})
				if err != nil {
					t.Errorf("%s: %v", c.Name, err)
					continue
				}
				t.Logf("%s: %.4v", c.Name, s.Values)
				if s.Error != "" || s.Answered == 0 || s.Values["rate"] <= 0 || s.Values["memory"] < 0.1 ||
					s.Values["server µs"] <= 0 || s.Values["server µs max"] <= 0 || s.Values["total µs"] < s.Values["server µs"] || s.Values["p99"] <= 0 {
					t.Errorf("%s: %+v", c.Name, s)
				}
			}
		})
	}
}
