package loader

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// CheckName tells whether a group or app can have the name: 1 … 63 letters,
// digits, '-', '_' or ':' (bpffs takes no dots). The error wraps unix.EINVAL.
func CheckName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("name %q: must have 1 to %d characters: %w", name, MaxName, unix.EINVAL)
	}
	for _, c := range name {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_:", c)
		if !ok {
			return fmt.Errorf("name %q: %q is not allowed, use letters, digits, '-', '_' or ':': %w", name, c, unix.EINVAL)
		}
	}
	return nil
}

func nameBytes(name string) (b [MaxName + 1]byte) {
	copy(b[:MaxName], name)
	return b
}

func nameString(b [MaxName + 1]byte) string {
	name, _, _ := strings.Cut(string(b[:]), "\x00")
	return name
}
