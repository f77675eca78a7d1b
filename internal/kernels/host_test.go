package kernels

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestEnsurePresent(t *testing.T) {
	check(t, Ensure(t.Context(), []Tool{{"go", "golang"}, {"/dev/null", "none"}}, io.Discard))
}

// With nothing to install by, the error names all that is missing at once.
func TestEnsureMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Ensure(t.Context(), []Tool{{"some-tool", "some-package"}, {"/nowhere/file", "other-package"}}, io.Discard)
	if !errors.Is(err, ErrHost) {
		t.Fatalf("error %v, want ErrHost", err)
	}
	for _, word := range []string{"some-tool", "some-package", "/nowhere/file", "other-package"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q doesn't name %s", err, word)
		}
	}
}
