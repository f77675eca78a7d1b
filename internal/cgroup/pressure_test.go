package cgroup

import (
	"testing"
	"time"
)

func TestParsePressure(t *testing.T) {
	text := "some avg10=89.73 avg60=87.25 avg300=81.87 total=7982180\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5"
	if got, err := parsePressure(text); got != 7982180*time.Microsecond || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "some", "full total=1", "some avg10=1", "some total=-1", "some total=x"} {
		if got, err := parsePressure(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}
