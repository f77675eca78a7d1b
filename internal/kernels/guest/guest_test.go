package guest

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestJobSurvivesTheCommandLine(t *testing.T) {
	job := Job{
		Kernel: "6.1",
		Binary: "/t/loader/test",
		Args:   []string{"-test.run=^Test(A|B) \"x\" %20&=+,;'$", "", "--", "ü"},
		Bpffs:  true,
	}
	word, err := job.Word()
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(word, " \t\n\"'") {
		t.Errorf("the kernel would split or unquote %s", word)
	}
	got, err := ParseJob([]string{"stray", "mitigations=off", word})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, job) {
		t.Errorf("got %+v, want %+v", got, job)
	}
}

func TestJobsThatCannotBe(t *testing.T) {
	for name, job := range map[string]Job{
		"relative": {Binary: "t/test"},
		"no room":  {Binary: "/t/test", Args: []string{strings.Repeat("x", 2000)}},
	} {
		if _, err := job.Word(); !errors.Is(err, ErrJob) {
			t.Errorf("%s: error %v, want ErrJob", name, err)
		}
	}
	if _, err := ParseJob([]string{"stray"}); !errors.Is(err, ErrJob) {
		t.Errorf("error %v, want ErrJob", err)
	}
}

func TestOutcome(t *testing.T) {
	for code := -1; code <= 256; code++ {
		status := int(Report(code))<<1 | 1
		if status > 255 {
			t.Fatalf("code %d gives status %d: the host sees one byte", code, status)
		}
		if err := Outcome(status); (err == nil) != (code == 0) {
			t.Errorf("code %d: outcome %v", code, err)
		}
	}
}

// What QEMU ends with by itself, and what a signal leaves, must never pass.
func TestOutcomeWithoutReport(t *testing.T) {
	for _, status := range []int{-1, 0, 1, 2, 31, 32, 124, 127, 134, 137, 139, 255} {
		if Outcome(status) == nil {
			t.Errorf("status %d passes", status)
		}
	}
}
