package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/result"
)

func TestEvenly(t *testing.T) {
	for _, c := range []struct{ all, most, want int }{{15, 8, 8}, {9, 8, 5}, {8, 8, 8}, {1, 8, 1}, {0, 8, 1}, {10, 3, 3}, {3, 2, 2}} {
		if got := evenly(c.all, c.most); got != c.want {
			t.Errorf("%d, at most %d: waves of %d, want %d", c.all, c.most, got, c.want)
		}
	}
}

// silent is an Env of which only Say is used.
type silent struct{ Env }

func (silent) Say(string, ...any) {}

func TestWavesMeasureAll(t *testing.T) {
	var all []*contender.Contender
	for i := range 5 {
		all = append(all, &contender.Contender{Name: fmt.Sprint(i)})
	}
	var mu sync.Mutex
	var places []float64
	w := waves{atOnce: 3,
		start: func(_ context.Context, _ Env, c *contender.Contender) (*contender.Fleet, error) {
			if c.Name == "2" {
				return nil, errors.New("won't start")
			}
			return nil, nil
		},
		measure: func(_ context.Context, m member) (result.Sample, error) {
			mu.Lock()
			defer mu.Unlock()
			places = append(places, m.place)
			if m.Name == "4" {
				return result.Sample{Answered: 1}, errors.New("can't")
			}
			return result.Sample{Answered: 2}, nil
		}}
	samples, err := w.together(t.Context(), silent{}, all, Round{Seed: 5})
	if err != nil || len(samples) != 5 || len(places) != 4 {
		t.Fatalf("%v, %v, %v", samples, places, err)
	}
	for name, want := range map[string]string{"0": "", "1": "", "2": "won't start", "3": "", "4": "can't"} {
		if samples[name].Error != want {
			t.Errorf("%s: %+v", name, samples[name])
		}
	}
	if slices.Max(places) >= 1 || slices.Min(places) != 0 {
		t.Errorf("places %v", places)
	}
}

func TestMixedByTheSeed(t *testing.T) {
	var all []*contender.Contender
	for i := range 10 {
		all = append(all, &contender.Contender{Name: fmt.Sprint(i)})
	}
	if !slices.Equal(mixed(all, 1), mixed(all, 1)) || slices.Equal(mixed(all, 1), mixed(all, 2)) {
		t.Error("the order doesn't follow from the seed alone")
	}
	if all[0].Name != "0" || all[9].Name != "9" {
		t.Error("the order of all has changed")
	}
}
