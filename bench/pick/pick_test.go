package pick

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/loader"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func measured(t *testing.T, o Options) *Report {
	t.Helper()
	privilege.Require(t)
	r, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTable(t *testing.T) {
	var asked []int
	r := measured(t, Options{Slots: []int{2, 64}, Length: 600 * time.Millisecond, Places: 2, Progress: func(n int) { asked = append(asked, n) }})
	var text bytes.Buffer
	if err := r.Print(&text); err != nil {
		t.Fatal(err)
	}
	out := text.String()
	for _, k := range kinds {
		if !strings.Contains(out, "\n"+label(k.name)+" ") {
			t.Errorf("no row %q", k.name)
		}
	}
	if !strings.Contains(out, "least at 64 slots costs ") || strings.Contains(out, "least at 256") {
		t.Error("the targets are not those of the slots that were measured")
	}
	if !slices.Equal(asked, []int{2, 64}) {
		t.Errorf("progress of %v", asked)
	}
	if t.Failed() {
		t.Log(out)
	}
	leavesNothing(t)
}

func leavesNothing(t *testing.T) {
	t.Helper()
	host, err := loader.Open(loader.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mount := filepath.Dir(filepath.Dir(host.Dir()))
	if left, _ := filepath.Glob(filepath.Join(mount, "sockdist-pick-"+strconv.Itoa(os.Getpid())+"-*")); left != nil {
		t.Errorf("pins are left: %v", left)
	}
}

func TestFigures(t *testing.T) {
	r := measured(t, Options{Slots: []int{3}, Length: 300 * time.Millisecond, Places: 1})
	if len(r.Columns) != 1 || len(r.Columns[0].Rows) != len(kinds) || r.Columns[0].Slots != 3 || r.PerSlot < 1 {
		t.Fatalf("report %+v", r)
	}
	for _, name := range Names() {
		if f := r.Columns[0].Figure(name); f.Runs == 0 || math.IsNaN(f.NS) || f.Low > f.NS || f.NS > f.High {
			t.Errorf("%+v", f)
		}
	}
	if f := r.Columns[0].Figure("nothing of that name"); f.Runs != 0 {
		t.Errorf("%+v", f)
	}
}

func TestQuartiles(t *testing.T) {
	if low, median, high := quartiles([]float64{5, 1, 3, 2, 4}); low != 2 || median != 3 || high != 4 {
		t.Errorf("%v %v %v", low, median, high)
	}
	if low, median, high := quartiles([]float64{1, 2}); low != 1.25 || median != 1.5 || high != 1.75 {
		t.Errorf("%v %v %v", low, median, high)
	}
}
