package cpio

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

type record struct {
	name    string
	mode    uint64
	content string
}

func TestRecords(t *testing.T) {
	var archive bytes.Buffer
	w := NewWriter(&archive)
	check(t, w.File("a/b/odd", 0o755, 3, strings.NewReader("abc")))
	check(t, w.Symlink("a/link", "b/odd"))
	check(t, w.Folder("a", 0o700))
	check(t, w.File("a/empty", 0o600, 0, strings.NewReader("")))
	check(t, w.Close())

	want := []record{
		{"a", 0o040755, ""},
		{"a/b", 0o040755, ""},
		{"a/b/odd", 0o100755, "abc"},
		{"a/link", 0o120777, "b/odd"},
		{"a/empty", 0o100600, ""},
		{trailer, 0, ""},
	}
	got := parse(t, archive.Bytes())
	if len(got) != len(want) {
		t.Fatalf("records %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("record %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func TestRefusedNames(t *testing.T) {
	w := NewWriter(io.Discard)
	check(t, w.File("twice", 0o644, 0, strings.NewReader("")))
	for _, name := range []string{"", ".", "/init", "../up", "a//b", "a/", "nul\x00", trailer, "twice"} {
		if err := w.File(name, 0o644, 0, strings.NewReader("")); !errors.Is(err, ErrName) {
			t.Errorf("name %q: error %v, want ErrName", name, err)
		}
	}
}

func TestShortContent(t *testing.T) {
	err := NewWriter(io.Discard).File("short", 0o644, 5, strings.NewReader("abc"))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want io.ErrUnexpectedEOF", err)
	}
}

func TestSizeOverHeader(t *testing.T) {
	if err := NewWriter(io.Discard).File("big", 0o644, 1<<32, strings.NewReader("")); err == nil {
		t.Error("a file of 4 GiB was taken")
	}
}

// The format is checked against another implementation where there is one.
func TestUnpackedByCpio(t *testing.T) {
	tool, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("no cpio on this machine")
	}
	content := strings.Repeat("sockdist", 1001)
	var archive bytes.Buffer
	w := NewWriter(&archive)
	check(t, w.File("deep/er/file", 0o640, int64(len(content)), strings.NewReader(content)))
	check(t, w.Symlink("link", "deep/er/file"))
	check(t, w.Close())

	dir := t.TempDir()
	cmd := exec.Command(tool, "-i", "--quiet", "--no-preserve-owner")
	cmd.Dir, cmd.Stdin = dir, &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(dir, "link"))
	check(t, err)
	if string(got) != content {
		t.Errorf("%d bytes came out, want %d", len(got), len(content))
	}
}

func parse(t *testing.T, b []byte) []record {
	t.Helper()
	var all []record
	for len(b) > 0 {
		if !bytes.HasPrefix(b, []byte("070701")) {
			t.Fatalf("no magic number before %q", b[:min(len(b), 20)])
		}
		size, nameSize := field(t, b, 6), field(t, b, 11)
		name := string(b[110 : 110+nameSize-1])
		start := align(110 + nameSize)
		all = append(all, record{name, field(t, b, 1), string(b[start : start+size])})
		b = b[align(start+size):]
	}
	return all
}

// field reads the n-th of the header's numbers, each eight hexadecimal digits.
func field(t *testing.T, b []byte, n int) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(string(b[6+8*n:14+8*n]), 16, 64)
	check(t, err)
	return v
}

func align(n uint64) uint64 { return (n + 3) &^ 3 }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
