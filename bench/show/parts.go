package show

import (
	"fmt"
	"slices"
	"strings"
)

// ChooseParts reads the flag -only: names by commas, of those that there are.
func ChooseParts(only string, names []string) ([]string, error) {
	chosen := strings.Split(only, ",")
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("-only %q: must be some of %s", only, strings.Join(names, ", "))
		}
	}
	return chosen, nil
}
