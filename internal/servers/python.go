package servers

import (
	"strconv"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
)

// Python is a ThreadingHTTPServer: a thread for each connection, and a backlog
// of 5, so that a burst of more loses SYNs, which clients repeat a second
// later. It listens on 0.0.0.0.
var Python = Server{name: "python", command: func(t testing.TB, port int) []string {
	t.Helper()
	python := privilege.Tool(t, "python3")
	return []string{python, testdata(t, "python/app.py"), strconv.Itoa(port)}
}}
