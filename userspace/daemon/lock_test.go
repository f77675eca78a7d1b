package daemon

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// One at a time; released, it leaves nothing, and the next one gets it.
func TestLock(t *testing.T) {
	runtime := t.TempDir()
	for range 2 {
		l, err := takeLock(runtime)
		if err != nil {
			t.Fatal(err)
		}
		_, err = takeLock(runtime)
		if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), fmt.Sprintf("(process %d)", os.Getpid())) {
			t.Errorf("the second: %v", err)
		}
		l.release()
		if left, _ := os.ReadDir(runtime); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}
