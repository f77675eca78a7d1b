package result

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestSaveAndLoad(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "results.json")
	c := judged(latency, row("base", 0, 0, 0), row("other", 1, 2, 3))
	r := &Results{Seed: 1<<63 + 1, Repeat: 3, Cases: []CaseResult{*c}, Command: []string{"bench", "-quick"}}
	for range 2 { // a file that is there is replaced
		if err := r.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Load(path)
	if err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("%+v: %v", again, err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if r.Save(filepath.Join(path, "below-a-file")) == nil {
		t.Error("no error where no file can be")
	}
}

// A file that can't be written whole leaves the old one.
func TestSaveIsAllOrNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	if err := new(Results).Save(path); err != nil {
		t.Fatal(err)
	}
	broken := &Results{Cases: []CaseResult{{Rows: []Row{row("base", nan())}}}}
	broken.Cases[0].Rows[0].Rounds[0].Values["p99"] = nan()
	if err := broken.Save(path); err == nil {
		t.Error("JSON has no NaN, and there is no error")
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}

func nan() float64 { var zero float64; return zero / zero }

func TestLoadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "not a result",
		"garbage\nin two lines":         "not a result",
		"[1]":                           "not a result",
		"{}":                            "not a result",
		`{"schema": "1"}`:               "not a result",
		`{"schema": 2, "cases": "new"}`: "has schema 2, this program reads schema 1",
		`{"schema": 1, "cases": "new"}`: "damaged",
		`{"schema": 1, "cases": [`:      "not a result",
	} {
		path := filepath.Join(t.TempDir(), "results.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Load("/nowhere/results.json"); err == nil || err.Error() != "/nowhere/results.json: no such file or directory" {
		t.Error(err)
	}
}
