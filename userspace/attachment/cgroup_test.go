package attachment

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sockdist/sockdist/internal/cgroup"
)

// newCgroup is an empty cgroup that goes with the test.
func newCgroup(t *testing.T) string {
	t.Helper()
	mount, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(mount.Dir, fmt.Sprintf("sockdist-attachment-%d-%d", os.Getpid(), testNumber.Add(1)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
