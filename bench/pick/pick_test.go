package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/bench/show"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/loader"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func measured(t *testing.T, o options) string {
	t.Helper()
	privilege.Require(t)
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, &show.Progress{}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTable(t *testing.T) {
	out := measured(t, options{slots: []int{2, 64}, seconds: 0.6})
	for _, k := range kinds {
		if !strings.Contains(out, "\n"+label(k.name)+" ") {
			t.Errorf("no row %q", k.name)
		}
	}
	if !strings.Contains(out, "least at 64 slots costs ") || strings.Contains(out, "least at 256") {
		t.Error("the targets are not those of the slots that were measured")
	}
	if t.Failed() {
		t.Log(out)
	}
	host, err := loader.Open(loader.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mount := filepath.Dir(filepath.Dir(host.Dir()))
	if left, _ := filepath.Glob(filepath.Join(mount, "sockdist-pick-"+strconv.Itoa(os.Getpid())+"-*")); left != nil {
		t.Errorf("pins are left: %v", left)
	}
}

func TestJSON(t *testing.T) {
	var r report
	if err := json.Unmarshal([]byte(measured(t, options{slots: []int{3}, seconds: 0.3, json: true})), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Columns) != 1 || len(r.Columns[0].Rows) != len(kinds) || r.Columns[0].Slots != 3 || r.PerSlot < 1 {
		t.Fatalf("report %+v", r)
	}
	for _, f := range r.Columns[0].Rows {
		if f.Runs == 0 || math.IsNaN(f.NS) || f.Low > f.NS || f.NS > f.High {
			t.Errorf("%+v", f)
		}
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-slots", "1, 256", "-seconds", "3"})
	if err != nil || len(o.slots) != 2 || o.slots[1] != 256 || o.seconds != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-slots", "0"}, {"-slots", "257"}, {"-slots", ""}, {"-slots", "2,x"}, {"-seconds", "0"}, {"more"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
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
