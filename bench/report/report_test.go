package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sockdist/sockdist/bench/result"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var keep = flag.String("keep", "", "folder for the synthetic results and their page")

func TestPage(t *testing.T) {
	r := synthetic(1, 5)
	var b bytes.Buffer
	if err := Page(&b, r); err != nil {
		t.Fatal(err)
	}
	if *keep != "" {
		if err := os.WriteFile(filepath.Join(*keep, "page.html"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := r.Save(filepath.Join(*keep, "results.json")); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kB", b.Len()>>10)
}

var _ = regexp.MustCompile
var _ = strings.Contains
var _ result.Verdict
