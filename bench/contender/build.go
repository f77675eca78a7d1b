package contender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Root is the checkout that the working directory is in: the nearest folder
// above with the go.mod of this module.
func Root() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for below := at; ; below = filepath.Dir(below) {
		if isRoot(below) {
			return below, nil
		}
		if below == filepath.Dir(below) {
			return "", fmt.Errorf("%s isn't in a checkout of %s, which the comparison builds its programs from", at, module)
		}
	}
}

const module = "github.com/sockdist/sockdist"

func isRoot(folder string) bool {
	text, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	return err == nil && slices.Contains(strings.Split(string(text), "\n"), "module "+module)
}

// Build makes the commands that contenders run from a checkout, into a folder
// that is there. It needs the go command, and the first time the network or a
// module cache, for the modules of bench/peers/go.
func Build(ctx context.Context, root, into string) (Programs, error) {
	peers := filepath.Join(root, "bench/peers")
	p := Programs{
		Sockdist: filepath.Join(into, "sockdist"),
		Server:   filepath.Join(into, "server"),
		Master:   filepath.Join(into, "master"),
		FastHTTP: filepath.Join(into, "fasthttp"),
		Fiber:    filepath.Join(into, "fiber"),
		Peers:    peers,
	}
	return p, errors.Join(
		build(ctx, root, into, "./cmd/sockdist"),
		build(ctx, filepath.Join(peers, "go"), into, "./server", "./master", "./fasthttp", "./fiber"),
	)
}

// build builds packages of the module in a folder.
func build(ctx context.Context, module, into string, packages ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false", "-o", into + "/"}, packages...)...)
	cmd.Dir = module
	// Without cgo, as releases are. A workspace of the user's would build something else.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", strings.Join(packages, " "), module, err, output)
	}
	return nil
}
