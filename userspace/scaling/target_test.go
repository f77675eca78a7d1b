package scaling

import (
	"errors"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"200": {Connections: 200}, "0.5": {Connections: 0.5}, "80%": {CPU: 0.8}, "250%": {CPU: 2.5}, "12.5%": {CPU: 0.125}, "1000000000": {Connections: 1e9},
	} {
		got, err := ParseTarget(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q is %+v (%s), %v, want %+v", text, got, got, err, want)
		}
	}
	for _, text := range []string{
		"", "%", "0", "0%", "-5", "+5", "NaN", "Inf", "inf%", "1e3", "0x10", "1_000", "80 %", " 80", "80%%", "1.2.3", "many", "1000000001", "1000001%", "80%\n",
	} {
		if got, err := ParseTarget(text); !errors.Is(err, ErrTarget) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, text := range []string{"200", "80%", "0.5", "1e9", "", "%", "NaN"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, err := ParseTarget(text)
		if err != nil {
			if target != (Target{}) || !errors.Is(err, ErrTarget) {
				t.Errorf("%q is %+v, %v", text, target, err)
			}
			return
		}
		New(target, 1, 2) // takes whatever passes
		again, err := ParseTarget(target.String())
		if near := func(a, b float64) bool { return a >= b*0.999999 && b >= a*0.999999 }; err != nil ||
			!near(again.CPU, target.CPU) || !near(again.Connections, target.Connections) {
			t.Errorf("%q is %+v, %s is %+v, %v", text, target, target, again, err)
		}
	})
}
