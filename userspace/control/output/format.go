package output

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A Format is how lines of workers are written.
type Format int

const (
	// Auto is Prefix on a terminal and Plain elsewhere. A Mux doesn't take it.
	Auto Format = iota
	// Plain passes lines unchanged, each to the stream it came from.
	Plain
	// Prefix puts the slot in brackets before each line; with an app it is [web/0].
	Prefix
	// JSON writes one object a line, all to standard output:
	// {"time":"2026-01-02T15:04:05.123456789Z","slot":0,"stream":"stderr","line":"text"}.
	// Bytes that aren't UTF-8 become U+FFFD.
	JSON
)

var formatNames = [...]string{Auto: "auto", Plain: "plain", Prefix: "prefix", JSON: "json"}

func (f Format) String() string {
	if f < 0 || int(f) >= len(formatNames) {
		return "Format(" + strconv.Itoa(int(f)) + ")"
	}
	return formatNames[f]
}

// ParseFormat reads auto, plain, prefix or json.
func ParseFormat(text string) (Format, error) {
	for f, name := range formatNames {
		if text == name {
			return Format(f), nil
		}
	}
	return Auto, fmt.Errorf("%q is no format of the output: take plain, prefix or json", text)
}

// A Stream is one of the two that a worker writes to.
type Stream int

const (
	Stdout Stream = iota
	Stderr
)

func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// piece is a line, or a part of a long one.
type piece struct {
	time   time.Time
	slot   int
	stream Stream
	text   []byte
	// starts and ends are both true for a line in one piece.
	starts, ends bool
}

// destination returns where the format puts the piece.
func (f Format) destination(p piece) Stream {
	if f == JSON {
		return Stdout
	}
	return p.stream
}

// append adds the piece, formatted, to text.
func (f Format) append(text []byte, app string, p piece) []byte {
	switch f {
	case Prefix:
		if isRemnant(p) {
			return text
		}
		text = append(text, '[')
		if app != "" {
			text = append(append(text, app...), '/')
		}
		text = strconv.AppendInt(text, int64(p.slot), 10)
		text = append(text, "] "...)
		text = append(text, p.text...)
		return append(text, '\n')
	case JSON:
		if isRemnant(p) {
			return text
		}
		return append(appendObject(text, app, p), '\n')
	default:
		text = append(text, p.text...)
		if p.ends {
			text = append(text, '\n')
		}
		return text
	}
}

// isRemnant tells the empty last piece of a line whose length is a multiple
// of a piece's. Where pieces are lines, it would be an empty one too many.
func isRemnant(p piece) bool {
	return !p.starts && p.ends && len(p.text) == 0
}

func appendObject(text []byte, app string, p piece) []byte {
	object, err := json.Marshal(struct {
		Time    time.Time `json:"time"`
		App     string    `json:"app,omitempty"`
		Slot    int       `json:"slot"`
		Stream  string    `json:"stream"`
		Line    string    `json:"line"`
		Partial bool      `json:"partial,omitempty"`
	}{p.time.UTC(), app, p.slot, p.stream.String(), string(p.text), !p.ends})
	if err != nil {
		return text // only a year beyond 9999 can't be written
	}
	return append(text, object...)
}
