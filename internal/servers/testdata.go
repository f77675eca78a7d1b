package servers

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"text/template"
)

// testdata returns the path of a file of this package's testdata folder. The
// tests of all packages run inside the module, where the go tool puts them.
func testdata(t testing.TB, name string) string {
	t.Helper()

	root, err := moduleRoot()
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	path := filepath.Join(root, "internal", "servers", "testdata", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	return path
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod in this folder or above")
		}
		dir = parent
	}
}

// render fills in a template of testdata and writes it into a folder of t.
func render(t testing.TB, name string, values any) (path string) {
	t.Helper()

	form, err := template.ParseFiles(testdata(t, name))
	if err != nil {
		t.Fatalf("read the template %s: %v", name, err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(name)))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(form.Execute(file, values), file.Close()); err != nil {
		t.Fatalf("fill in the template %s: %v", name, err)
	}
	return file.Name()
}
