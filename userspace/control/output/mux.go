package output

import (
	"context"
	"io"
	"os"
	"sync"
	"time"
)

// A Run names one life of a worker. The ID is of the caller's choice and never
// comes twice.
type Run struct {
	ID   uint64 `json:"id"`
	Slot int    `json:"slot"`
}

// A Mux merges the output of many workers. Its methods may be called from
// several goroutines.
type Mux struct {
	format Format
	app    string // "" for none
	sink   *sink

	mu     sync.Mutex
	runs   map[uint64]*reading   // not yet asked for their tail
	active map[*reading]struct{} // not yet at their end

	// order is held from formatting a piece to queueing it. It isn't mu: a
	// reader that waits for room must not keep others from asking for a tail.
	order sync.Mutex
	open  *reading // wrote the beginning of a line last, and not yet its end
	from  Stream   // of open

	readers sync.WaitGroup
}

// reading is the state of a run.
type reading struct {
	Run
	files [2]*os.File
	ended chan struct{} // closed at the end of both files
	left  int           // files not at their end
	tail  tail
}

// NewMux returns a Mux that writes to stdout and stderr. The format isn't Auto.
func NewMux(format Format, stdout, stderr io.Writer) *Mux {
	return &Mux{
		format: format,
		sink:   newSink(stdout, stderr),
		runs:   make(map[uint64]*reading),
		active: make(map[*reading]struct{}),
	}
}

// Attach reads both files until their end, and then closes them.
func (m *Mux) Attach(run Run, stdout, stderr *os.File) {
	r := &reading{Run: run, files: [2]*os.File{stdout, stderr}, ended: make(chan struct{}), left: 2}
	m.mu.Lock()
	m.runs[run.ID] = r
	m.active[r] = struct{}{}
	m.mu.Unlock()

	for stream := range r.files {
		m.readers.Go(func() { m.read(r, Stream(stream)) })
	}
}

func (m *Mux) read(r *reading, stream Stream) {
	cut(r.files[stream], func(text []byte, starts, ends bool) {
		m.print(r, piece{time.Now(), r.Slot, stream, text, starts, ends})
	})
	_ = r.files[stream].Close()

	m.mu.Lock()
	defer m.mu.Unlock()
	if r.left--; r.left == 0 {
		delete(m.active, r)
		close(r.ended)
	}
}

func (m *Mux) print(r *reading, p piece) {
	if p.starts {
		m.mu.Lock()
		r.tail.add(p.text)
		m.mu.Unlock()
	}
	m.order.Lock()
	defer m.order.Unlock()
	var text []byte
	if m.format == Plain {
		text = m.separate(r, p)
	}
	m.sink.put(m.format.destination(p), m.format.append(text, m.app, p))
}

// separate returns what has to come before the piece so that it doesn't end up
// in the middle of another worker's line.
func (m *Mux) separate(r *reading, p piece) []byte {
	var text []byte
	if m.open != nil && (m.open != r || m.from != p.stream) {
		text = []byte{'\n'}
	}
	m.open, m.from = nil, p.stream
	if !p.ends {
		m.open = r
	}
	return text
}

// Tail returns the last lines of a run, and forgets it. It waits for the end
// of its output, but no longer than the context: something that the worker
// left behind may hold the pipes.
func (m *Mux) Tail(ctx context.Context, run uint64) []string {
	m.mu.Lock()
	r := m.runs[run]
	delete(m.runs, run)
	m.mu.Unlock()
	if r == nil {
		return nil
	}
	select {
	case <-r.ended:
	case <-ctx.Done():
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return r.tail.list()
}

// Wait returns when every run is at its end and all is written. When the
// context is over before, it closes what is still open.
func (m *Mux) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, m.abandon)
	defer stop()
	m.readers.Wait()
	m.sink.close()
	select {
	case <-m.sink.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Mux) abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for r := range m.active {
		for _, file := range r.files {
			_ = file.Close()
		}
	}
}
