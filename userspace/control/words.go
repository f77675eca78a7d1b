package control

import (
	"fmt"
	"strconv"
	"strings"
)

// joinNumbers writes "1 2 3".
func joinNumbers(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, " ")
}

// onPorts writes " on port 80", or nothing for no ports.
func onPorts(ports []uint16) string {
	switch len(ports) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(" on port %d", ports[0])
	}
	return " on ports " + strings.Trim(fmt.Sprint(ports), "[]")
}
