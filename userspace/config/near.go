package config

import (
	"fmt"
	"strings"
)

// unknownKey says that there is no such key, and what may have been meant.
func unknownKey(key, name string, known []string) string {
	for _, one := range known {
		if isNear(strings.ToLower(name), one) {
			return fmt.Sprintf("%s: there is no such key; did you mean %s?", key, one)
		}
	}
	return fmt.Sprintf("%s: there is no such key; take one of %s", key, strings.Join(known, ", "))
}

// isNear tells whether a word may be another one mistyped: a letter or two are
// other ones, underscores stand for dashes, or the plural is missing.
func isNear(word, other string) bool {
	word = strings.ReplaceAll(word, "_", "-")
	if word == other || word+"s" == other || word == other+"s" {
		return true
	}
	if len(word) > 2*len(other) {
		return false
	}
	return distance(word, other) <= min(2, len(other)/3)
}

// distance is how many letters have to be changed, added or taken away.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, cost)
		}
	}
	return row[len(b)]
}
