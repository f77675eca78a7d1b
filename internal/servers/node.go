package servers

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
)

// Node is an application on Node's own http module. It listens on [::], IPv4
// included.
var Node = Server{name: "node", command: func(t testing.TB, port int) []string {
	t.Helper()
	node := privilege.Tool(t, "node")
	return []string{node, testdata(t, "node/app.js"), strconv.Itoa(port)}
}}

// Express is an application on Express. It listens as Node does.
var Express = Server{name: "express", command: func(t testing.TB, port int) []string {
	t.Helper()
	node := privilege.Tool(t, "node")
	app := testdata(t, "express/app.js")
	modules := filepath.Join(filepath.Dir(app), "node_modules", "express")
	if _, err := os.Stat(modules); err != nil {
		absent(t, "needs express: make deps installs it")
	}
	return []string{node, app, strconv.Itoa(port)}
}}

// absent skips t, or fails it in continuous integration, as privilege.Tool does.
func absent(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
