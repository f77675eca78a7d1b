package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
)

// A block is a file or commands of the guide. What is to be done with it stands
// in a comment before it.
type block struct {
	line int
	what string // file, run, not run
	how  string
	text string
}

var instruction = regexp.MustCompile(`^<!-- (file|run|not run): (.*) -->$`)

// readGuide refuses a block without instruction: nothing goes untested unsaid.
func readGuide(t testing.TB, path string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	var open *block
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case open != nil && line == "```":
			blocks, open, said = append(blocks, *open), nil, nil
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			if said == nil {
				t.Fatalf("%s:%d: no comment says what a test does with this", path, i+1)
			}
			open = &block{line: i + 1, what: said[1], how: said[2]}
		case line != "":
			said = instruction.FindStringSubmatch(line)
		}
	}
	return blocks
}

// nobody is the user of the guide's reader: one without any privilege.
const nobody = 65534

// A reader is somebody who does what the guide says.
type reader struct {
	*world
	t       testing.TB
	folder  string
	places  *strings.Replacer // what is elsewhere in a test
	user    *shell
	root    *shell
	daemons []*process
}

func newReader(t testing.TB) *reader {
	t.Helper()
	sockdist := build(t, "..", "./cmd/sockdist")
	r := &reader{world: newWorld(t, sockdist), t: t}
	r.folder = filepath.Join(filepath.Dir(r.runtime), "hello")
	if err := os.Mkdir(r.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(r.folder, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	r.places = strings.NewReplacer("/run/sockdist", r.runtime, ":8080", fmt.Sprintf(":%d", servers.FreePort(t, nil)))
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	r.env = append(r.env, "PATH="+filepath.Dir(sockdist)+":"+os.Getenv("PATH"), "HOME="+r.folder, "GOFLAGS=-mod=mod",
		"GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"))
	r.root = startShell(t, r.folder, r.env, nil)
	r.root.do(preamble(checkout))
	r.user = startShell(t, r.folder, r.env, &syscall.Credential{Uid: nobody, Gid: nobody})
	return r
}

// preamble has root do without sudo, and take the module from the checkout
// instead of the network.
func preamble(checkout string) string {
	return fmt.Sprintf(`
sudo() { "$@"; }
go() {
	if [ "$*" = "get github.com/sockdist/sockdist" ]; then
		command go mod edit -require=github.com/sockdist/sockdist@v0.0.0 -replace=github.com/sockdist/sockdist=%q
		command go mod tidy
	else
		command go "$@"
	fi
}
`, checkout)
}

func goEnv(t testing.TB, name string) string {
	t.Helper()
	output, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(output))
}

// A stranger who does all that the guide says gets what it promises.
func TestGuide(t *testing.T) {
	privilege.Require(t)
	privilege.Tool(t, "curl")
	r := newReader(t)
	blocks := readGuide(t, "../docs/guide-go.md")
	if len(blocks) < 10 {
		t.Fatalf("only %d blocks", len(blocks))
	}
	for _, b := range blocks {
		t.Logf("line %d: %s: %s", b.line, b.what, b.how)
		switch b.what {
		case "file":
			r.write(b)
		case "run":
			r.run(b)
		}
	}
	for _, p := range r.daemons {
		p.terminate()
	}
}

func (r *reader) write(b block) {
	r.t.Helper()
	path := filepath.Join(r.folder, b.how)
	if err := os.WriteFile(path, []byte(r.places.Replace(b.text)), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if strings.HasSuffix(path, ".service") {
		r.verify(path)
	}
}

// verify has systemd judge a unit. The server is where the unit says, for it.
func (r *reader) verify(unit string) {
	r.t.Helper()
	analyze := privilege.Tool(r.t, "systemd-analyze")
	text, err := os.ReadFile(unit)
	if err != nil {
		r.t.Fatal(err)
	}
	there := strings.ReplaceAll(string(text), "/usr/local/bin/hello", filepath.Join(r.folder, "hello"))
	there = strings.ReplaceAll(there, "User=hello", "User=daemon")
	if err := os.WriteFile(unit, []byte(there), 0o644); err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(analyze, "verify", "--man=no", unit)
	if output, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(output), filepath.Base(unit)) {
		r.t.Errorf("%v: %v\n%s", cmd.Args, err, output)
	}
}

func (r *reader) run(b block) {
	r.t.Helper()
	text := r.places.Replace(b.text)
	switch b.how {
	case "build", "root":
		r.root.do(text)
	case "worker":
		r.user.do(text)
	case "daemon":
		cmd := exec.Command("bash", "-c", `sudo() { exec "$@"; }; `+text)
		cmd.Dir, cmd.Env = r.folder, r.env
		r.daemons = append(r.daemons, start(r.t, cmd))
		awaitServing(r.t, r.daemons[0])
	case "root, three workers":
		await(r.t, "three workers in status", func() bool { return strings.Count(r.root.do(text), " live ") == 3 })
	case "worker, three answer":
		r.answers(text, 3)
	case "worker, two answer":
		r.answers(text, 2)
	default:
		r.t.Fatalf("line %d: nobody knows how to run %q", b.line, b.how)
	}
}

var tally = regexp.MustCompile(`(?m)^ *\d+ hello from \d+$`)

// answers checks that so many workers answered.
func (r *reader) answers(text string, workers int) {
	r.t.Helper()
	output := r.user.do(text)
	if n := len(tally.FindAllString(output, -1)); n != workers {
		r.t.Errorf("%d workers answered, want %d:\n%s", n, workers, output)
	}
}
