package cgroup

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "4096": 4096, "1K": 1024, "1k": 1024, "200M": 200 << 20, "200MiB": 200 << 20, "200mib": 200 << 20,
		"1.5G": 3 << 29, "1GiB": 1 << 30, "0.5T": 1 << 39, "2TiB": 1 << 41, ".5K": 512, "1.K": 1024, "0.0001K": 0,
		"18446744073709551615": 1<<64 - 1, "16777215.9T": 18446743963758388838,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v, want %d", text, got, err, want)
		}
	}
	for text, reason := range map[string]string{
		"": "a number", "M": "a number", "x": "a number", "1X": "a number", "-1M": "a number", "+1M": "a number",
		"1 M": "a number", " 1M": "a number", "1e3": "a number", "1MM": "a number", "1iBM": "a number", "0x10": "a number", "∞": "a number",
		"1B": "without a unit", "1iB": "without a unit", "200MB": "write M or MiB", "1gb": "write G or GiB",
		"1.5": "part of a byte", "1.2.3M": "no number", ".M": "no number", ".": "part of a byte",
		"18446744073709551616": "64 bits", "16777216T": "64 bits", strings.Repeat("1", 50): "too long",
	} {
		got, err := ParseSize(text)
		if !errors.Is(err, ErrSize) || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is %d, %v, want %s", text, got, err, reason)
		}
	}
}

// FuzzParseSize compares with what the language makes of plain numbers.
func FuzzParseSize(f *testing.F) {
	for _, text := range []string{"200M", "1.5G", "1GiB", "4096", "", ".", "1MB", "999999999999T", "\n1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseSize(text)
		if err != nil {
			if size != 0 || !errors.Is(err, ErrSize) {
				t.Errorf("%q is %d, %v", text, size, err)
			}
			return
		}
		if plain, err := strconv.ParseUint(text, 10, 64); err == nil && plain != size {
			t.Errorf("%q is %d", text, size)
		}
		if float, err := strconv.ParseFloat(strings.TrimRight(strings.ToLower(text), "kmgtib"), 64); err != nil || float < 0 {
			t.Errorf("%q passes as %d", text, size)
		}
	})
}
