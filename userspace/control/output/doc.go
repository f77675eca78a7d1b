// Package output carries what workers print to where their supervisor prints.
//
// Each worker writes into two pipes. A [Mux] reads them, cuts them into lines
// and writes these, one at a time, in one of three formats. It keeps the last
// lines of each worker, so that a message about its end can quote them.
//
// # Whose death breaks what
//
// A pipe that nobody reads kills its writer with SIGPIPE, or fails its writes.
// If only the supervisor read, then its sudden death would end every worker
// that prints, a moment later. So the reader is a process of its own ([Serve]
// there, [Dial] here), which lives until the last writer is gone and goes on
// printing to the same place. The supervisor also keeps the reading ends: when
// the reader dies instead, a new one takes over and nothing is lost but what
// the old one had in hand.
//
// # What is slow
//
// A terminal that is stopped, or a pipe into a program that doesn't read, must
// not stop a server. [QueueSize] bytes wait in memory; then workers wait too,
// but only for [Patience] altogether. From then on lines are dropped until half
// of the queue is free, and one line says how many they were.
//
// # What is long
//
// A line longer than [PieceSize] bytes comes in pieces. In the plain format
// they follow each other as they were; when another worker's line falls in
// between, it starts on a line of its own. In the prefix format each piece is
// a line, and in the JSON format an object, all but the last of which have
// "partial":true.
package output

import "time"

const (
	// PieceSize is the longest line, in bytes, that is handled in one piece.
	PieceSize = 64 << 10

	// QueueSize is how many bytes of output wait for a slow reader.
	QueueSize = 1 << 20

	// Patience is how long workers are held up by one that reads nothing.
	Patience = time.Second

	// TailLines is how many of its last lines are kept of each worker.
	TailLines = 20

	// TailWidth is how many bytes are kept of each of these lines.
	TailWidth = 512
)
