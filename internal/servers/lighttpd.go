package servers

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
)

// Lighttpd is a web server in C, one process with one thread. It listens on
// 0.0.0.0.
var Lighttpd = Server{name: "lighttpd", command: func(t testing.TB, port int) []string {
	t.Helper()
	lighttpd := privilege.Tool(t, "lighttpd")
	config := render(t, "lighttpd/lighttpd.conf", map[string]string{
		"Port": strconv.Itoa(port),
		"Root": filepath.Dir(testdata(t, "lighttpd/index.shtml")),
	})
	return []string{lighttpd, "-D", "-f", config}
}}
