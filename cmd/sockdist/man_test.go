package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "share", "man1")
	for range 2 { // again over what is there
		if a := sockdist(t, "", "man", dir); a.code != exitDone || a.out+a.err != "" {
			t.Fatalf("%+v", a)
		}
	}
	root := newRoot(testEnvironment())
	want := 1
	for _, verb := range visible(root) {
		want++
		page, err := os.ReadFile(filepath.Join(dir, "sockdist-"+verb.Name()+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, must := range []string{".SH \"SYNOPSIS\"", ".SH \"EXAMPLES\"", ".SH \"EXIT STATUS\"", roff(verb.Short)} {
			if !strings.Contains(string(page), must) {
				t.Errorf("the page of %s has no %s", verb.Name(), must)
			}
		}
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(pages) != want {
		t.Errorf("%d pages, want %d: %v, %v", len(pages), want, pages, err)
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Log("no groff: the pages are not formatted")
		return
	}
	for _, page := range pages {
		out, err := exec.Command(groff, "-man", "-ww", "-z", "-Tutf8", "-Kutf8", page).CombinedOutput()
		// A minimal groff has no preconv, and then no -K.
		if err != nil && strings.Contains(string(out), "preconv") {
			out, err = exec.Command(groff, "-man", "-ww", "-z", "-Tutf8", page).CombinedOutput()
		}
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
	}
}

func TestManFolderThatCannotBe(t *testing.T) {
	if a := sockdist(t, "", "man", "/proc/no-such-folder"); a.code != exitFailed || strings.Count(a.err, "\n") != 1 {
		t.Errorf("%+v", a)
	}
}

func TestManText(t *testing.T) {
	m := new(manPage)
	m.text("One -- two\\n.\nstill one\n\n.dots\n'quotes\n\n  --flag  x\n\n    deeper\nback")
	const want = `One \-\- two\en.
still one
.PP
\&.dots
\(aqquotes
.PP
.RS 2
.nf
\-\-flag  x

  deeper
.fi
.RE
back
`
	if got := m.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
