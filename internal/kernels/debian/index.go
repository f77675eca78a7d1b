package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrNoPackage is wrapped when an archive doesn't have a package.
var ErrNoPackage = errors.New("no such package in the archive")

// Source is one suite of an archive.
type Source struct {
	Address string
	Suite   string
}

func (s Source) line() string {
	return fmt.Sprintf("deb [arch=%s signed-by=%s target=Packages] %s %s main\n", Architecture, Keyring, s.Address, s.Suite)
}

// Index is a private apt index of one source. Not for concurrent use: apt locks its folder.
type Index struct {
	dir    string
	source Source
}

// OpenIndex prepares the index in dir, which it makes. What is there is kept.
func OpenIndex(dir string, source Source) (*Index, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("apt index folder: %w", err)
	}
	x := &Index{dir: dir, source: source}
	for _, sub := range []string{"lists/partial", "cache/archives/partial", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("make the apt index folder: %w", err)
		}
	}
	for name, content := range map[string]string{"apt.conf": x.configuration(), "sources.list": source.line()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return nil, fmt.Errorf("write the apt index's configuration: %w", err)
		}
	}
	return x, nil
}

// configuration is read by apt after the machine's own, of which only the way to
// reach an archive (proxies and the like) stays. Hooks would touch the machine.
func (x *Index) configuration() string {
	return fmt.Sprintf(`#clear APT::Architectures;
#clear APT::Update;
APT::Architecture "%[2]s";
APT::Architectures { "%[2]s"; };
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "%[1]s/state";
Dir::State::lists "%[1]s/lists";
Dir::State::status "/dev/null";
Dir::Cache "%[1]s/cache";
`, x.dir, Architecture)
}

// Update fetches the index again unless it is younger than maxAge. If that
// fails, an older index, if there is one, can still be used.
func (x *Index) Update(ctx context.Context, maxAge time.Duration) error {
	if x.Age() < maxAge {
		return nil
	}
	if _, err := output(x.apt(ctx, "apt-get", "update")); err != nil {
		return fmt.Errorf("fetch the index of %s %s: %w", x.source.Address, x.source.Suite, err)
	}
	if err := os.WriteFile(x.stamp(), []byte(x.source.line()), 0o644); err != nil {
		return fmt.Errorf("date the apt index: %w", err)
	}
	return nil
}

// Age is the time since this source was fetched; a very long one if never.
func (x *Index) Age() time.Duration {
	const never = 1 << 62
	line, err := os.ReadFile(x.stamp())
	if err != nil || string(line) != x.source.line() {
		return never
	}
	info, err := os.Stat(x.stamp())
	if err != nil {
		return never
	}
	return time.Since(info.ModTime())
}

func (x *Index) stamp() string { return filepath.Join(x.dir, "fetched") }

func (x *Index) apt(ctx context.Context, tool string, args ...string) *exec.Cmd {
	return command(ctx, tool, append([]string{"-c", filepath.Join(x.dir, "apt.conf"), "-q"}, args...)...)
}

// Package looks a package up, in the newest version that the source has.
func (x *Index) Package(ctx context.Context, name string) (Package, error) {
	out, err := output(x.apt(ctx, "apt-cache", "show", "--no-all-versions", name))
	if err != nil {
		return Package{}, fmt.Errorf("%s in %s %s: %w: %w", name, x.source.Address, x.source.Suite, ErrNoPackage, err)
	}
	return parsePackage(out)
}

// Download fetches packages into dir; apt checks them against the signed index.
func (x *Index) Download(ctx context.Context, dir string, packages []Package) ([]string, error) {
	args := []string{"download"}
	for _, p := range packages {
		args = append(args, p.Name+"="+p.Version)
	}
	cmd := x.apt(ctx, "apt-get", args...)
	cmd.Dir = dir
	if _, err := output(cmd); err != nil {
		return nil, fmt.Errorf("download %s: %w", strings.Join(args[1:], " "), err)
	}
	return filepath.Glob(filepath.Join(dir, "*.deb"))
}
