package ledger

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Server is a plain server on its language's own HTTP library that records what
// it accepts. It takes its port as the last argument, listens on all addresses,
// IPv4 and IPv6, and ends by SIGTERM as its language does by default.
//
// These variables of its environment, or lines NAME=VALUE of the file that
// LEDGER_KNOBS names, which is read at each start, change that:
//
//	SOCKDIST_LEDGER     the folder of its records; none: it keeps none
//	LEDGER_SERVICE_MS   sleep that long before each answer
//	LEDGER_SLOW_START   seconds to wait before it listens
//	LEDGER_FAIL         not empty: say so and exit 1 instead of listening
//	LEDGER_IGNORE_TERM  not empty: ignore SIGTERM
//	LEDGER_GRACEFUL     not empty: by SIGTERM, stop accepting, finish, exit 0
//	LEDGER_HANG         what SIGUSR2 does: "busy" (a busy loop), "deadlock", or
//	                    "eat" (all memory that there is)
//	LEDGER_HANG_MS      how long it is busy; 2000
//	LEDGER_HANG_END     the name of a file: as soon as there is one, it isn't
//	                    busy any more
//
// So do questions with ?busy=MS and ?deadlock. A server that hangs accepts
// nothing, though the one in Go may accept one connection more.
type Server struct {
	name    string
	install func(folder string) ([]string, error)
}

// The servers.
var (
	Node   = Server{"node", installNode}
	Python = Server{"python", installPython}
	// Go also takes several ports, and the flag -reuseport, before them, to share
	// them without any help.
	Go = Server{"go", installGo}
)

// Servers are all of them.
func Servers() []Server { return []Server{Node, Python, Go} }

// String returns the server's name, fit for a subtest.
func (s Server) String() string { return s.name }

// Install puts the program into a folder and returns the command line without
// the port. The error wraps [exec.ErrNotFound] if the language isn't installed.
func (s Server) Install(folder string) (command []string, err error) {
	command, err = s.install(folder)
	if err != nil {
		return nil, fmt.Errorf("ledger: install the server %s: %w", s, err)
	}
	return command, nil
}

//go:embed testdata
var programs embed.FS

// unpack writes a file of testdata into a folder.
func unpack(name, folder string) (path string, err error) {
	text, err := fs.ReadFile(programs, "testdata/"+name)
	if err != nil {
		return "", err
	}
	path = filepath.Join(folder, "ledger-"+filepath.Base(name))
	return path, os.WriteFile(path, text, 0o644)
}

func installNode(folder string) ([]string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, err
	}
	path, err := unpack("node/app.js", folder)
	return []string{node, path}, err
}

func installPython(folder string) ([]string, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return nil, err
	}
	// What is on PATH may be a script that looks for the interpreter each time.
	if real, err := exec.Command(python, "-c", "import sys; print(sys.executable)").Output(); err == nil {
		python = strings.TrimSpace(string(real))
	}
	path, err := unpack("python/app.py", folder)
	return []string{python, path}, err
}

func installGo(folder string) ([]string, error) {
	compiler, err := exec.LookPath("go")
	if err != nil {
		return nil, err
	}
	source, err := unpack("go/main.go", folder)
	if err != nil {
		return nil, err
	}
	program := filepath.Join(folder, "ledger-go")
	build := exec.Command(compiler, "build", "-o", program, source)
	build.Dir = folder
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build it: %w\n%s", err, output)
	}
	return []string{program}, nil
}
