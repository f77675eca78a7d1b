package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/bench/load"
)

// Services lists the distributions of service times: those that the live loads
// have as well, see load.Distribution. The mean of each is 1.
func Services() (names []string) {
	for _, d := range load.Distributions {
		names = append(names, string(d))
	}
	return names
}

func checkService(name string) error {
	if !slices.Contains(Services(), name) {
		return fmt.Errorf("service %q: use one of %s", name, strings.Join(Services(), ", "))
	}
	return nil
}
