package main

import (
	"slices"
	"testing"
)

// crewOf has workers with so many connections.
func crewOf(least bool, has ...int64) (*crew, []*worker) {
	c := newCrew(nil, least)
	var workers []*worker
	for _, n := range has {
		w := new(worker)
		w.has.Store(n)
		workers = append(workers, w)
	}
	c.workers.Store(&workers)
	return c, workers
}

func chosen(c *crew, workers []*worker, times int) (order []int) {
	for range times {
		w := c.choose()
		w.has.Add(1)
		order = append(order, slices.Index(workers, w))
	}
	return order
}

func TestInTurn(t *testing.T) {
	c, workers := crewOf(false, 5, 0, 9)
	if order := chosen(c, workers, 6); !slices.Equal(order, []int{1, 2, 0, 1, 2, 0}) {
		t.Errorf("%v", order)
	}
}

func TestToTheLeastBusy(t *testing.T) {
	c, workers := crewOf(true, 3, 1, 2)
	order := chosen(c, workers, 6)
	if got := []int64{workers[0].has.Load(), workers[1].has.Load(), workers[2].has.Load()}; !slices.Equal(got, []int64{4, 4, 4}) {
		t.Errorf("%v in the order %v", got, order)
	}
	if order[0] != 1 {
		t.Errorf("the first goes to %d", order[0])
	}
}

func TestNobodyThere(t *testing.T) {
	c, _ := crewOf(true)
	if w := c.choose(); w != nil {
		t.Error(w)
	}
}
