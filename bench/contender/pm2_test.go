package contender

import (
	"os"
	"testing"
)

// TestPM2KeepsToItself: it writes neither into the user's home nor leaves
// anything in the folder for temporary files.
func TestPM2KeepsToItself(t *testing.T) {
	c := ByName("pm2")
	if missing := c.Missing(); missing != "" {
		absent(t, missing)
	}
	s := newSetup(t, 1)
	home, temporary := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("TMPDIR", temporary)
	t.Run("Fleet", func(t *testing.T) {
		f := launch(t, s, c.Start)
		if err := f.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for _, folder := range []string{home, temporary} {
		entries, err := os.ReadDir(folder)
		if err != nil || len(entries) > 0 {
			t.Errorf("%v are left (%v)", entries, err)
		}
	}
}
