package capabilities

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Own are the sets of the calling thread. In a process of which all threads
// are alike, as those of a Go program that changed none by hand, they are the
// process's.
type Own struct {
	Effective, Permitted, Inheritable, Bounding, Ambient Set
	// NoNewPrivileges: no program that is started gets more than this process has.
	NoNewPrivileges bool
}

// Read reads them.
func Read() (own Own, err error) {
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return own, fmt.Errorf("read capabilities: %w", err)
	}
	return parseStatus(string(text))
}

// Effective are the capabilities that the kernel looks at.
func Effective() (Set, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // version 3 is two words of 32 bits
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	return Set(data[0].Effective) | Set(data[1].Effective)<<32, nil
}

func parseStatus(text string) (own Own, err error) {
	sets := map[string]*Set{"CapEff": &own.Effective, "CapPrm": &own.Permitted, "CapInh": &own.Inheritable,
		"CapBnd": &own.Bounding, "CapAmb": &own.Ambient}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if name == "NoNewPrivs" {
			own.NoNewPrivileges = value == "1"
		}
		set, wanted := sets[name]
		if !wanted {
			continue
		}
		number, err := strconv.ParseUint(value, 16, 64)
		if err != nil {
			return own, fmt.Errorf("read capabilities: line %s: %w", name, err)
		}
		*set = Set(number)
		delete(sets, name)
	}
	if len(sets) > 0 {
		return own, fmt.Errorf("read capabilities: /proc lacks %d of five lines", len(sets))
	}
	return own, nil
}
