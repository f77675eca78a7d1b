package servers

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
)

// PortMark stands for the port in what is given to [Nginx].
const PortMark = "{port}"

// Nginx is a web server whose master opens a listener for each of its workers,
// which are processes of another user when the master's is root. Each of listen
// is what one of nginx's listen directives says, with [PortMark] for the port;
// none means "{port} reuseport".
func Nginx(workers int, listen ...string) Server {
	if len(listen) == 0 {
		listen = []string{PortMark + " reuseport"}
	}
	return Server{name: "nginx", command: func(t testing.TB, port int) []string {
		t.Helper()
		nginx := privilege.Tool(t, "nginx")
		config := render(t, "nginx/nginx.conf", map[string]any{
			"Workers": workers,
			"Listen":  withPort(listen, port),
		})
		// The log has to be on the command line too: nginx opens the one of
		// the system before it reads its configuration.
		return []string{nginx, "-e", "stderr", "-p", filepath.Dir(config), "-c", config}
	}}
}

func withPort(listen []string, port int) []string {
	filled := make([]string, len(listen))
	for i, l := range listen {
		filled[i] = strings.ReplaceAll(l, PortMark, strconv.Itoa(port))
	}
	return filled
}

// StartNginx starts nginx with that many workers on a free port, and waits
// until all of them are there.
func StartNginx(t testing.TB, workers int) *Process {
	t.Helper()
	p := Start(t, Nginx(workers), 0)
	p.AwaitWorkers(t, workers)
	return p
}
