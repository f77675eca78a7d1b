package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/bench/pick"
	"github.com/sockdist/sockdist/bench/show"
	"github.com/sockdist/sockdist/internal/privilege"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func printed(t *testing.T, o options) string {
	t.Helper()
	privilege.Require(t)
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, &show.Progress{}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTable(t *testing.T) {
	if out := printed(t, options{slots: []int{3}, seconds: 0.2}); !strings.Contains(out, "\nleast ") {
		t.Errorf("no row of least:\n%s", out)
	}
}

func TestJSON(t *testing.T) {
	var r pick.Report
	if err := json.Unmarshal([]byte(printed(t, options{slots: []int{3}, seconds: 0.2, json: true})), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Columns) != 1 || r.Columns[0].Slots != 3 || r.PerSlot < 1 || r.Columns[0].Figure("least").Runs == 0 {
		t.Errorf("report %+v", r)
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
