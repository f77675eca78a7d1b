package output

import (
	"bytes"
	"io"
)

// cut reads until the end and gives each line, without its end, to emit; a
// line longer than PieceSize in several pieces. The text is valid only during
// the call. A last line without an end counts as one.
func cut(r io.Reader, emit func(text []byte, starts, ends bool)) {
	buffer := make([]byte, 0, 4<<10)
	starts := true
	for {
		if len(buffer) == cap(buffer) {
			buffer = grow(buffer)
		}
		n, err := r.Read(buffer[len(buffer):cap(buffer)])
		searched := len(buffer)
		buffer = buffer[:len(buffer)+n]

		rest := buffer
		for {
			i := bytes.IndexByte(rest[searched:], '\n')
			if i < 0 {
				break
			}
			emit(rest[:searched+i], starts, true)
			starts = true
			rest, searched = rest[searched+i+1:], 0
		}
		if len(rest) == PieceSize {
			emit(rest, starts, false)
			starts = false
			rest = nil
		}
		buffer = buffer[:copy(buffer, rest)]

		if err != nil {
			if len(buffer) > 0 || !starts {
				emit(buffer, starts, true)
			}
			return
		}
	}
}

// grow makes room for more of a line, up to a piece. Most workers never print
// a line that needs it.
func grow(buffer []byte) []byte {
	size := min(2*cap(buffer), PieceSize)
	return append(make([]byte, 0, size), buffer...)
}
