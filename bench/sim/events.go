package sim

// What can happen next.
type kind uint8

const (
	handshakeEnds kind = iota // of a connection
	workEnds                  // of a worker's request
	requestComes              // on a connection that was idle
	closeEnds                 // the kernel is done with a connection
	comesAgain                // a client whose connection was lost
	reports                   // a worker publishes its load
	disturbance               // the next crash, drain or burst
	workerBack                // in the slot that it left
)

// An event is for a connection, or for a worker.
type event struct {
	at    int64 // ns
	order uint32
	who   int32
	use   uint32 // of the worker: one that has died ends no work
	kind  kind
}

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && int32(e.order-other.order) < 0
}

// events is a heap of four children a node. What comes at the same moment comes in the order of adding.
type events struct {
	heap  []event
	added uint32
}

func (q *events) add(e event) {
	e.order = q.added
	q.added++
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&q.heap[parent]) {
			break
		}
		q.heap[i] = q.heap[parent]
		i = parent
	}
	q.heap[i] = e
}

// next is the moment of the first event; ok tells whether there is one.
func (q *events) next() (at int64, ok bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

func (q *events) take() event {
	first := q.heap[0]
	n := len(q.heap) - 1
	last := q.heap[n]
	q.heap = q.heap[:n]
	if n > 0 {
		q.sink(last)
	}
	return first
}

// sink puts an event where the first was.
func (q *events) sink(e event) {
	i, n := 0, len(q.heap)
	for {
		child := 4*i + 1
		if child >= n {
			break
		}
		for c := child + 1; c < min(4*i+5, n); c++ {
			if q.heap[c].before(&q.heap[child]) {
				child = c
			}
		}
		if !q.heap[child].before(&e) {
			break
		}
		q.heap[i] = q.heap[child]
		i = child
	}
	q.heap[i] = e
}
