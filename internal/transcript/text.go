// Package transcript has text that can be read while it is written.
package transcript

import (
	"strings"
	"sync"
)

// Text collects what was written until now. It is safe for concurrent use; its
// zero value is empty.
type Text struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write adds to the text. It never fails.
func (t *Text) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(b)
}

// String is all of the text until now.
func (t *Text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
