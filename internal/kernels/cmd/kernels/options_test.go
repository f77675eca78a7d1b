package main

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"-kernels", "newest", "-run", "A|B", "-v", "-timeout", "3m", "-race", "./x", "./y/...", "--", "-test.short", "--", "z"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"./x", "./y/..."}; !reflect.DeepEqual(o.packages, want) {
		t.Errorf("packages %v", o.packages)
	}
	if len(o.kernels) != 1 || o.kernels[0].Name != "newest" {
		t.Errorf("kernels %v", o.kernels)
	}
	if o.memory != 2048 {
		t.Errorf("%d MiB with the race detector", o.memory)
	}
	want := []string{"-test.timeout=2m40s", "-test.run=A|B", "-test.v", "-test.short", "--", "z"}
	if got := o.guestArgs(); !reflect.DeepEqual(got, want) {
		t.Errorf("arguments %v, want %v", got, want)
	}
}

func TestParseWrong(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"-kernels", "5.4", "./x"},
		{"--", "-test.v"},
		{"-timeout", "1ms", "./x"},
		{"-unknown", "./x"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
	if _, err := parse([]string{"-list"}, io.Discard); err != nil {
		t.Errorf("-list takes no packages: %v", err)
	}
}

func TestShortTimeoutLeavesTimeToTests(t *testing.T) {
	o := options{timeout: 10 * time.Second}
	if got := o.guestArgs()[0]; got != "-test.timeout=5s" {
		t.Errorf("%s of 10s", got)
	}
}

func TestDefaultCache(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/some/cache")
	if got := defaultCache(); got != "/some/cache/sockdist/kernels" {
		t.Errorf("with XDG_CACHE_HOME: %s", got)
	}
	t.Setenv("XDG_CACHE_HOME", "")
	repo := t.TempDir()
	repo, err := filepath.EvalSymlinks(repo)
	if err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(repo, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo, "go.mod"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(deep)
	if got, want := defaultCache(), filepath.Join(repo, ".cache", "kernels"); got != want {
		t.Errorf("in a repository: %s, want %s", got, want)
	}
}
