package kernels

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/internal/kernels/debian"
)

// Modules are what the guest loads: Debian's cloud kernels have these outside
// the image. Modules that they need come along by themselves.
var Modules = []string{"inet_diag", "tcp_diag", "veth", "tun"}

// ErrUnknown is wrapped for a name that is not in All.
var ErrUnknown = errors.New("no such kernel")

// Kernel is one line of Debian's kernels, named by its meta package, so that no
// version is written down that the archive drops one day.
type Kernel struct {
	Name  string
	Suite string
	Meta  string
}

// All lists the kernels, oldest first.
func All() []Kernel {
	return []Kernel{
		{"6.1", "bookworm-security", "linux-image-cloud-amd64"},
		{"6.12", "bookworm-security", "linux-image-6.12-cloud-amd64"},
		{"newest", "trixie-backports", "linux-image-cloud-amd64"},
	}
}

// Select parses a list of names with commas between; "" is all.
func Select(list string) ([]Kernel, error) {
	if list == "" {
		return All(), nil
	}
	var chosen []Kernel
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(All(), func(k Kernel) bool { return k.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("kernel %q: %w: choose from %s", name, ErrUnknown, strings.Join(Names(All()), ", "))
		}
		if k := All()[i]; !slices.Contains(chosen, k) {
			chosen = append(chosen, k)
		}
	}
	return chosen, nil
}

// Names gives the kernels' names.
func Names(all []Kernel) []string {
	var names []string
	for _, k := range all {
		names = append(names, k.Name)
	}
	return names
}

// source tells which of the mirror's folders has the kernel's suite.
func (k Kernel) source(m debian.Mirror) debian.Source {
	if strings.HasSuffix(k.Suite, "-security") {
		return debian.Source{Address: m.Security, Suite: k.Suite}
	}
	return debian.Source{Address: m.Main, Suite: k.Suite}
}
