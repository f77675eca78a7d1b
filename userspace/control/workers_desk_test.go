package control

import (
	"os"
	"path/filepath"
	"testing"
)

// The folder of an earlier sockdist was closed to workers of other users; the one
// around it, which somebody chose, stays as it is.
func TestFolderOfAnEarlierSockdist(t *testing.T) {
	t.Parallel()
	around := filepath.Join(t.TempDir(), "closed")
	folder := filepath.Join(around, "app")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := makeFolder(folder); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]os.FileMode{around: 0o700, folder: 0o711} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != want {
				t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
			}
		}
	}
}
