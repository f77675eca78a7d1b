package kernels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sockdist/sockdist/internal/kernels/debian"
)

// initPackage is the guest's first process.
const initPackage = "github.com/sockdist/sockdist/internal/kernels/cmd/init"

// ErrBuild is wrapped when Go can't list or build something.
var ErrBuild = errors.New("build failed")

// Build makes the binaries for the guest, all of them static.
type Build struct {
	Dir    string // where binaries go
	Race   bool   // tests with the race detector; takes a C compiler
	Tags   string
	Output io.Writer // what the go command has to say
}

// Package is a Go package whose tests can be run.
type Package struct {
	Path   string // import path
	Dir    string
	Tests  bool   // whether it has any
	Binary string // built; "" before
}

// List resolves patterns as the go command does, for the guest's system.
func (b Build) List(ctx context.Context, patterns []string) ([]Package, error) {
	const format = "{{.ImportPath}}\t{{.Dir}}\t{{or .TestGoFiles .XTestGoFiles | len}}"
	cmd := b.goCommand(ctx, append([]string{"list", "-tags", b.Tags, "-f", format, "--"}, patterns...)...)
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("list %s: %w: %w", strings.Join(patterns, " "), ErrBuild, err)
	}
	var all []Package
	for line := range strings.Lines(out.String()) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 3 {
			return nil, fmt.Errorf("list %s: %w: the go command printed %q", strings.Join(patterns, " "), ErrBuild, line)
		}
		all = append(all, Package{Path: fields[0], Dir: fields[1], Tests: fields[2] != "0"})
	}
	return all, nil
}

// Init builds the guest's first process.
func (b Build) Init(ctx context.Context) (string, error) {
	binary := filepath.Join(b.Dir, "init")
	cmd := b.goCommand(ctx, "build", "-ldflags", "-s -w", "-o", binary, initPackage)
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("init for the guest: %w: %w", ErrBuild, err)
	}
	return binary, nil
}

// Test builds the package's tests.
func (b Build) Test(ctx context.Context, p Package) (Package, error) {
	binary := filepath.Join(b.Dir, strings.ReplaceAll(p.Path, "/", "_")+".test")
	tags, linker := b.Tags, "-s -w"
	args := []string{"test", "-c", "-o", binary}
	if b.Race {
		// The detector's runtime is C. Go's own resolver and user look-up keep
		// glibc's out, which can't be linked static without warnings.
		tags = strings.TrimPrefix(tags+",netgo,osusergo", ",")
		linker += " -linkmode external -extldflags -static"
		args = append(args, "-race")
	}
	cmd := b.goCommand(ctx, append(args, "-tags", tags, "-ldflags", linker, p.Path)...)
	if b.Race {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
	}
	if err := cmd.Run(); err != nil {
		return p, fmt.Errorf("tests of %s: %w: %w", p.Path, ErrBuild, err)
	}
	p.Binary = binary
	return p, nil
}

func (b Build) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+debian.Architecture, "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = b.Output, b.Output
	return cmd
}
