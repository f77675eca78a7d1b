package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/sockdist/sockdist/userspace/config"
)

// Each flag of run is a key of an app, with the same default; but for the name,
// which stands before the keys, and for port, of which there is a list.
func TestFlagsAreKeys(t *testing.T) {
	env := &environment{out: os.Stdout, err: os.Stderr, getenv: func(string) string { return "" }}
	run, _, err := newRoot(env).Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	run.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		key := f.Name
		switch key {
		case "name", "help":
			return
		case "port":
			key = "ports"
		}
		_, err := config.Parse("f", []byte("apps: {a: {command: [sh], "+key+": [[]]}}"))
		if err == nil || strings.Contains(err.Error(), "no such key") {
			t.Errorf("run has --%s, and an app no key of this name: %v", f.Name, err)
		}
	})
}
