package debian

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestIndexAge(t *testing.T) {
	dir := t.TempDir()
	source := Source{"http://mirror.test/debian", "suite"}
	x, err := OpenIndex(dir, source)
	check(t, err)
	if x.Age() < 1000*time.Hour {
		t.Error("an index that never was fetched is young")
	}
	check(t, os.WriteFile(x.stamp(), []byte(source.line()), 0o644))
	if x.Age() > time.Hour {
		t.Errorf("age %v right after fetching", x.Age())
	}
	check(t, x.Update(t.Context(), time.Hour)) // must not try to reach the mirror

	other, err := OpenIndex(dir, Source{"http://elsewhere.test/debian", "suite"})
	check(t, err)
	if other.Age() < 1000*time.Hour {
		t.Error("the index of another mirror is taken for this one's")
	}
}

// An index must not see the machine's sources, preferences, packages or hooks.
func TestIndexIsPrivate(t *testing.T) {
	if _, err := exec.LookPath("apt-config"); err != nil {
		t.Skip("no apt on this machine")
	}
	dir := t.TempDir()
	x, err := OpenIndex(dir, Source{"http://mirror.test/debian", "suite"})
	check(t, err)
	out, err := output(command(t.Context(), "apt-config", "-c", filepath.Join(dir, "apt.conf"), "dump"))
	check(t, err)
	for _, line := range []string{
		`Dir::Etc::sourcelist "` + dir + `/sources.list";`,
		`Dir::Etc::sourceparts "/dev/null";`,
		`Dir::Etc::preferencesparts "/dev/null";`,
		`Dir::State::status "/dev/null";`,
		`Dir::State::lists "` + dir + `/lists";`,
		`Dir::Cache "` + dir + `/cache";`,
		`APT::Architecture "` + Architecture + `";`,
	} {
		if !strings.Contains(out, line+"\n") {
			t.Errorf("apt's configuration lacks %s", line)
		}
	}
	if strings.Contains(out, "APT::Update::Post-Invoke") {
		t.Error("the machine's hooks are left")
	}
	list, err := os.ReadFile(filepath.Join(dir, "sources.list"))
	check(t, err)
	if string(list) != x.source.line() || !strings.Contains(string(list), "signed-by="+Keyring) {
		t.Errorf("sources %q", list)
	}
}
