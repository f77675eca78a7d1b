package folder

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
)

func mk(t *testing.T, path string, mode fs.FileMode, uid, gid int) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheck(t *testing.T) {
	privilege.Require(t) // to give folders away
	const other = 65534
	dir := t.TempDir()
	in := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	ours := mk(t, in("ours"), 0o755, 0, 0)
	mk(t, in("group"), 0o775, 0, other)
	mk(t, in("own group"), 0o775, 0, 0)
	mk(t, in("all"), 0o777, 0, 0)
	mk(t, in("sticky"), 0o777|fs.ModeSticky, 0, 0)
	mk(t, in("sticky", "ours"), 0o700, 0, 0)
	mk(t, in("all", "ours"), 0o700, 0, 0)
	mk(t, in("theirs"), 0o755, other, 0)
	mk(t, in("theirs", "ours"), 0o700, 0, 0)
	for link, to := range map[string]string{"to ours": ours, "to theirs": in("theirs")} {
		if err := os.Symlink(to, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]fs.FileMode{"file": 0o644, "open": 0o666, "theirs/file": 0o644, "sticky/ours/file": 0o600} {
		if err := os.WriteFile(in(name), nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(in(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, others := range map[string]bool{"file": false, "open": true, "theirs/file": true, "sticky/ours/file": false} {
		if err := CheckFile(in(name)); errors.Is(err, ErrOthers) != others || !others && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, others := range map[string]bool{
		"ours": false, "own group": false, "sticky/ours": false, "to ours": false,
		"group": true, "all": true, "sticky": true, "all/ours": true, "theirs": true, "theirs/ours": true, "to theirs": true,
	} {
		if err := Check(in(name)); errors.Is(err, ErrOthers) != others || !others && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Check(in("theirs")); !strings.Contains(err.Error(), "nobody") && !strings.Contains(err.Error(), "65534") {
		t.Errorf("the owner isn't named: %v", err)
	}
	for _, name := range []string{"none", "file"} {
		if err := Check(in(name)); err == nil || errors.Is(err, ErrOthers) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A link that somebody planted is replaced, and what it leads to stays as it is.
func TestWriteFileFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "state")
	if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{path, path + ".new"} {
		if err := os.Symlink(victim, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	if got, _ := os.ReadFile(victim); string(got) != "precious" {
		t.Errorf("the link was followed: %q", got)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(path + ".new"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
