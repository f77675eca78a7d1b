package loader

import "testing"

// While Adopt runs, connections that it found in a queue end, and the kernel
// gives their memory to others: to clients, for instance, that have nothing to
// do with the group.
func TestAdoptAmidReuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, Least)
	n := scaled(600, 200)
	for range scaled(2, 1) {
		w.before(func() { w.connect(n) })
		together(2, func(i int) {
			if i == 0 {
				for range 5 {
					w.adopt(nil)
				}
				return
			}
			for _, worker := range w.workers {
				for range n / 2 {
					e, err := worker.accept()
					if err != nil || e == nil {
						break
					}
					e.reset()
					w.connect(1)
				}
			}
		})
		w.adopt(nil)
		w.agree("afterwards")
		w.acceptAll()
		w.closeAll()
	}
}
