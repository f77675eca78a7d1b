package show

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What isn't a terminal gets no line that is written over.
func TestProgressOnFile(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range []*Progress{NewProgress(file), {}} {
		p.Show("%d", 1)
		p.Clear()
	}
	if text, err := os.ReadFile(file.Name()); err != nil || len(text) > 0 {
		t.Errorf("%q, %v", text, err)
	}
}

func TestSave(t *testing.T) {
	m := ThisMachine()
	if m.Kernel == "unknown" || m.CPUs < 1 || m.CPU == "" || !strings.Contains(m.String(), m.Kernel) {
		t.Errorf("%+v", m)
	}
	path := filepath.Join(t.TempDir(), "results.json")
	if err := Save(path, m); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var again Machine
	if err := json.Unmarshal(text, &again); err != nil || again != m {
		t.Errorf("%s: %v", text, err)
	}
	if err := Save("", m); err != nil {
		t.Error(err)
	}
	if Save(filepath.Join(path, "below-a-file"), m) == nil {
		t.Error("no error where no file can be")
	}
}
