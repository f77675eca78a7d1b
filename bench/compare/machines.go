package compare

import (
	"fmt"

	"github.com/sockdist/sockdist/bench/result"
)

// Warnings are why a comparison of two runs says less than it seems to.
func Warnings(old, new *result.Results) (all []string) {
	all = append(all, differences(old.Machine, new.Machine)...)
	for _, r := range []struct {
		name string
		*result.Results
	}{{"old", old}, {"new", new}} {
		if r.Trust.Noisy {
			all = append(all, fmt.Sprintf("the %s run found its machine too noisy", r.name))
		}
		if r.Repeat < 2 {
			all = append(all, fmt.Sprintf("the %s run has a single round: nothing can be told from it", r.name))
		}
	}
	for i := range old.Cases {
		before := &old.Cases[i]
		switch after := find(new, before.Name); {
		case after == nil:
			all = append(all, fmt.Sprintf("case %s is not in the new run", before.Name))
		case after.Baseline != before.Baseline:
			all = append(all, fmt.Sprintf("case %s has another baseline now: %s instead of %s", before.Name, after.Baseline, before.Baseline))
		}
	}
	return all
}

// differences are what of the machine isn't the same.
func differences(old, new result.Machine) (all []string) {
	for _, d := range []struct{ what, old, new string }{
		{"kernels", old.Kernel, new.Kernel},
		{"CPUs", fmt.Sprintf("%d of %s", old.CPUs, old.CPU), fmt.Sprintf("%d of %s", new.CPUs, new.CPU)},
		{"governors", old.Governor, new.Governor},
		{"clients' CPUs", old.Clients, new.Clients},
		{"servers' CPUs", old.Servers, new.Servers},
	} {
		if d.old != d.new {
			all = append(all, fmt.Sprintf("%s differ: %q, then %q", d.what, d.old, d.new))
		}
	}
	return all
}
