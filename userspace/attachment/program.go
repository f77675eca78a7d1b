package attachment

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// programOf names the program of a process. Some runtimes, as Node's, name their
// threads, and so themselves, by what they do: then it is the file's name.
func programOf(h sockets.Holder) string {
	if !strings.HasSuffix(h.Comm, "MainThread") {
		return h.Comm
	}
	file, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", h.PID))
	if err != nil {
		return h.Comm
	}
	return strings.TrimSuffix(filepath.Base(file), " (deleted)")
}
