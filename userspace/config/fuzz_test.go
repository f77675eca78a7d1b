package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// patience is far more than any file takes that is read at all.
const patience = 20 * time.Second

// Whatever is in a file, it is read in no time, and either makes sense or has
// problems that name a place in it.
func FuzzConfig(f *testing.F) {
	text, err := os.ReadFile(example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("apps: {a: &x {command: [sh]}, b: *x, <<: *x}")
	f.Add("groups:\n  ? {a: b}\n  : {listen: !!str \":80\"}\n--- |\n x\n")
	f.Add("a: " + strings.Repeat("[", 64) + strings.Repeat("- ", 64))
	f.Fuzz(func(t *testing.T, text string) {
		endless := time.AfterFunc(patience, func() { panic(fmt.Sprintf("it isn't read within %v: %q", patience, text)) })
		file, err := Parse("f", []byte(text))
		endless.Stop()
		if err == nil {
			if len(file.Apps)+len(file.Groups)+len(file.Attach) == 0 {
				t.Error("there is nothing in it")
			}
			for _, a := range file.Apps {
				if len(a.Command) == 0 || a.Command[0] == "" {
					t.Errorf("app %s has no command", a.Name)
				}
				if _, faults := a.Read(a.Name); len(faults) > 0 {
					t.Errorf("app %s: %v", a.Name, faults)
				}
			}
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("error %v, want problems", err)
		}
		rows := strings.Count(text, "\n") + strings.Count(text, "\r") + 1
		for _, p := range problems {
			if p.Text == "" || p.Line < 0 || p.Line > rows+1 || strings.Contains(p.Error(), "\n") {
				t.Errorf("problem %+v in %d lines", p, rows)
			}
		}
	})
}
