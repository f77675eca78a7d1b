package workload

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/sockdist/sockdist/bench/load"
)

func TestUnevenSample(t *testing.T) {
	const slow = 7
	var outcomes []load.Outcome
	for i := range 400 {
		o := load.Outcome{At: time.Duration(i) * 10 * time.Millisecond, Latency: 10 * time.Millisecond, PID: 1 + i%4}
		if i >= 200 {
			o.Latency = 30 * time.Millisecond
		}
		if i >= 200 && i%2 == 0 {
			o.PID = slow
		}
		outcomes = append(outcomes, o)
	}
	outcomes[399].Err, outcomes[399].Latency = fmt.Errorf("late: %w", load.ErrTimeout), 4*time.Second
	outcomes[397].Err, outcomes[397].Latency = load.ErrReset, time.Millisecond
	s := unevenness{length: 4 * time.Second}.sample(outcomes, slow)
	if s.Failed != 2 || s.Answered != 398 || s.Error != "" {
		t.Errorf("%+v", s)
	}
	for metric, want := range map[string]float64{"p50 before": 10, "p50 after": 30, "p99 before": 10, "p99 after": 30, "share before": 0, "share after": 100. * 100 / 198} {
		if got := s.Values[metric]; math.Abs(got-want) > 0.05 {
			t.Errorf("%s: %v, not %v", metric, got, want)
		}
	}
	if len(s.Series) != 4 || s.Series[3].Second != 3 || s.Series[3].Values["p99"] < 3900 && s.Series[3].Values["p99"] != 30.015 {
		t.Errorf("%+v", s.Series)
	}
	for i := range 10 {
		outcomes[i].Err = load.ErrReset
	}
	if s := (unevenness{length: 4 * time.Second}).sample(outcomes, slow); s.Error == "" {
		t.Error("eleven of four hundred were reset, and that's no error")
	}
}

func TestExcuse(t *testing.T) {
	if got := excuse(0, 0, nil); got == "" {
		t.Error("nothing was asked, and that's fine")
	}
	if got := excuse(1, 100, errors.New("x")); got != "" {
		t.Error(got)
	}
	if got, want := excuse(2, 100, errors.New("x")), "2 of 100 requests failed, the first: x"; got != want {
		t.Error(got)
	}
}

// The slow worker is seen to be slow, and a chooser to avoid it.
func TestUnevenMeasures(t *testing.T) {
	e := newEnv(t)
	all := some(t, "go-shared", "sockdist-go", "go-master-rr")
	u := unevenness{cell{4, load.Exponential, unevenLoad, queueService}, 2 * time.Second}
	samples, err := u.measure(t.Context(), e, all, Round{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		s := samples[c.Name]
		t.Logf("%s: %.4v, %d of %d failed", c.Name, s.Values, s.Failed, s.Failed+s.Answered)
		if s.Error != "" || s.Answered < 100 || len(s.Series) < 2 || s.Values["p99 after"] <= 0 {
			t.Errorf("%s: %+v", c.Name, s)
		}
		if share := s.Values["share after"]; c.Name == "go-shared" && share > 20 {
			t.Errorf("a worker that is an eighth as fast answers %.0f %% from a shared queue of four", share)
		}
	}
}
