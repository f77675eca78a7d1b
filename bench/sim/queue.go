package sim

// A queue is a list of connections, first in first out.
type queue struct {
	head, tail int32
	length     int
}

func emptyQueue() queue { return queue{head: none, tail: none} }

func (q *queue) push(all []connection, i int32) {
	all[i].next = none
	if q.length == 0 {
		q.head = i
	} else {
		all[q.tail].next = i
	}
	q.tail = i
	q.length++
}

// pop is none if the queue is empty.
func (q *queue) pop(all []connection) int32 {
	i := q.head
	if i == none {
		return none
	}
	q.head = all[i].next
	q.length--
	return i
}

// idlers are the workers that have nothing to do, the longest idle first.
type idlers struct {
	next, before []int16 // a ring; its place n is the end
	count        int
}

const notIdle = -1

func newIdlers(n int) idlers {
	l := idlers{next: make([]int16, n+1), before: make([]int16, n+1)}
	l.next[n], l.before[n] = int16(n), int16(n)
	for slot := range n {
		l.next[slot] = notIdle
		l.add(slot)
	}
	return l
}

func (l *idlers) add(slot int) {
	end := len(l.next) - 1
	last := l.before[end]
	l.next[last], l.before[slot] = int16(slot), last
	l.next[slot], l.before[end] = int16(end), int16(slot)
	l.count++
}

// remove takes out a worker, if it is idle.
func (l *idlers) remove(slot int) {
	if l.next[slot] == notIdle {
		return
	}
	l.next[l.before[slot]], l.before[l.next[slot]] = l.next[slot], l.before[slot]
	l.next[slot] = notIdle
	l.count--
}

func (l *idlers) take() (slot int, ok bool) {
	end := len(l.next) - 1
	slot = int(l.next[end])
	if slot == end {
		return 0, false
	}
	l.remove(slot)
	return slot, true
}
