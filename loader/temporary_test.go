package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
)

func newTemporary(t *testing.T, kind string) *Temporary {
	t.Helper()
	temporary, err := OpenTemporary(kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := temporary.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(temporary.folder); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", temporary.folder, err)
		}
	})
	return temporary
}

// What an ended process left goes, what a running one has stays.
func TestTemporaryClearsAbandoned(t *testing.T) {
	privilege.Require(t)
	kind := fmt.Sprintf("test%d", os.Getpid())
	first := newTemporary(t, kind)
	kept, err := first.CreateGroup(GroupSpec{Name: "kept"})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	abandoned := filepath.Join(filepath.Dir(first.folder), "sockdist-"+kind+"-0-0")
	if err := os.MkdirAll(filepath.Join(abandoned, layout, "groups"), 0o700); err != nil {
		t.Fatal(err)
	}

	second := newTemporary(t, kind)
	if _, err := os.Stat(abandoned); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", abandoned, err)
	}
	if names, err := first.Groups(); err != nil || len(names) != 1 {
		t.Errorf("the first has groups %v, %v", names, err)
	}
	if names, err := second.Groups(); err != nil || len(names) != 0 {
		t.Errorf("the second has groups %v, %v", names, err)
	}
}
