package sim

// What befalls workers, and what they say of themselves.

// disturb has the next crash, drain or burst.
func (r *run) disturb() {
	if r.arrived >= r.Connections {
		return
	}
	if r.Crash || r.Drain {
		if slot, ok := r.victim(); ok && r.Crash {
			r.crash(slot)
		} else if ok {
			r.drain(slot)
		}
	}
	for range r.Burst {
		r.arrive()
	}
	r.at(r.nanos(r.Every), disturbance, 0)
}

// victim is a random worker of those that serve, and never the last of them.
func (r *run) victim() (slot int, ok bool) {
	serving := 0
	for i := range r.workers {
		if r.workers[i].serves() {
			serving++
		}
	}
	slot = r.disasters.IntN(len(r.workers))
	if serving < 2 {
		return 0, false
	}
	for !r.workers[slot].serves() {
		slot = (slot + 1) % len(r.workers)
	}
	return slot, true
}

func (w *worker) serves() bool { return !w.absent && !w.leaving }

// crash ends a worker: what it had accepted is lost, and what waits for its accept goes where the chooser says.
func (r *run) crash(slot int) {
	w := &r.workers[slot]
	serving, waiting := w.serving, w.queue
	r.idle.remove(slot)
	r.goAway(slot)
	for i := waiting.pop(r.connections); i != none; i = waiting.pop(r.connections) {
		if r.Requests > 1 { // who keeps connections has accepted them all
			r.close(i)
			r.lose(i)
			continue
		}
		r.move(i)
	}
	if serving != none {
		r.close(serving)
		r.lose(serving)
	}
}

// move gives a connection of a closed listener's queue to another one.
func (r *run) move(i int32) {
	c := &r.connections[i]
	to := r.moves(r.now, c.place, c.random)
	if to.slot == nowhere {
		r.close(i)
		r.lose(i)
		return
	}
	c.place = to
	r.result.Migrated++
	r.settle(i)
	r.enqueue(i)
}

// close tells the chooser of a connection that ended with its worker.
func (r *run) close(i int32) {
	if c := &r.connections[i]; r.workerOf(c) != nil {
		r.closes(c.place)
	}
}

// lose has the client of a connection that failed come again, when it has learned of it.
func (r *run) lose(i int32) {
	r.result.Lost++
	c := &r.connections[i]
	c.random = r.chance.Uint32()
	r.at(c.rtt, comesAgain, i)
}

// drain keeps new connections away from a worker, which then ends when it has none.
func (r *run) drain(slot int) {
	r.workers[slot].leaving = true
	r.idle.remove(slot)
	r.holds(slot)
	r.departIfDone(slot)
}

func (r *run) departIfDone(slot int) {
	w := &r.workers[slot]
	if w.leaving && w.open == 0 && w.coming == 0 && w.serving == none {
		r.goAway(slot)
	}
}

// goAway ends the worker's use of its slot. Its successor will come.
func (r *run) goAway(slot int) {
	w := &r.workers[slot]
	r.dies(slot)
	*w = worker{queue: emptyQueue(), serving: none, speed: w.speed, use: w.use + 1, absent: true}
	r.at(r.nanos(r.Back), workerBack, int32(slot))
}

// replace has another worker come.
func (r *run) replace(slot int32) {
	r.workers[slot].absent = false
	r.joins(int(slot))
	r.serve(int(slot))
}

// report publishes a worker's load.
func (r *run) report(slot int32) {
	if w := &r.workers[slot]; !w.absent {
		r.publish(int(slot), w.inFlight()*r.Worth)
	}
}

// changed is told of whatever a report could tell.
func (r *run) changed(slot int) {
	if r.Reports == Always {
		r.report(int32(slot))
	}
}
