package kernels

import (
	"bytes"
	"debug/elf"
	"errors"
	"strings"
	"testing"
)

func TestBuildStatic(t *testing.T) {
	var out bytes.Buffer
	b := Build{Dir: t.TempDir(), Output: &out}
	packages, err := b.List(t.Context(), []string{"./cpio", "./cmd/init"})
	check(t, err)
	if len(packages) != 2 || !packages[0].Tests || packages[1].Tests {
		t.Fatalf("packages %+v", packages)
	}
	built, err := b.Test(t.Context(), packages[0])
	check(t, err)
	init, err := b.Init(t.Context())
	check(t, err)
	static(t, built.Binary)
	static(t, init)
}

func TestListUnknown(t *testing.T) {
	var out bytes.Buffer
	b := Build{Dir: t.TempDir(), Output: &out}
	if _, err := b.List(t.Context(), []string{"./nowhere"}); !errors.Is(err, ErrBuild) {
		t.Errorf("error %v, want ErrBuild", err)
	}
	if !strings.Contains(out.String(), "nowhere") {
		t.Errorf("the go command said %q", out.String())
	}
}

func static(t *testing.T, binary string) {
	t.Helper()
	f, err := elf.Open(binary)
	check(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s wants a dynamic linker", binary)
		}
	}
}
