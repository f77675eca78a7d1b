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

// ErrHost is wrapped when this machine lacks something that can't be installed here and now.
var ErrHost = errors.New("this machine lacks what test kernels need")

// Tool is something that must be on this machine: a program looked up in PATH,
// or a file with an absolute path; and the package that has it.
type Tool struct {
	Name    string
	Package string
}

// Emulator is what booting takes.
func Emulator() []Tool { return []Tool{{"qemu-system-x86_64", "qemu-system-x86"}} }

// Fetchers is what getting kernels takes.
func Fetchers() []Tool {
	return []Tool{
		{"apt-get", "apt"},
		{"dpkg-deb", "dpkg"},
		{"xz", "xz-utils"},
		{"zstd", "zstd"},
		{debian.Keyring, "debian-archive-keyring"},
	}
}

// RaceBuilders is what static binaries with the race detector take.
func RaceBuilders() []Tool {
	return []Tool{{"gcc", "gcc"}, {"/usr/lib/x86_64-linux-gnu/libc.a", "libc6-dev"}}
}

// Ensure checks for tools and, as root, installs what is missing with apt-get.
// Its errors wrap ErrHost and say what to run.
func Ensure(ctx context.Context, tools []Tool, log io.Writer) error {
	absent := missing(tools)
	if len(absent) == 0 {
		return nil
	}
	var names, packages []string
	for _, t := range absent {
		names = append(names, t.Name)
		packages = append(packages, t.Package)
	}
	lack := fmt.Errorf("%w: no %s", ErrHost, strings.Join(names, ", "))
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("%w: install them (Debian's packages are %s)", lack, strings.Join(packages, " "))
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: run: sudo apt-get install -y --no-install-recommends %s", lack, strings.Join(packages, " "))
	}
	fmt.Fprintf(log, "installing %s\n", strings.Join(packages, " "))
	if err := install(ctx, packages); err != nil {
		return fmt.Errorf("%w: %w", lack, err)
	}
	if still := missing(tools); len(still) > 0 {
		return fmt.Errorf("%w: no %s after installing %s", ErrHost, still[0].Name, still[0].Package)
	}
	return nil
}

func missing(tools []Tool) []Tool {
	var absent []Tool
	for _, t := range tools {
		var err error
		if filepath.IsAbs(t.Name) {
			_, err = os.Stat(t.Name)
		} else {
			_, err = exec.LookPath(t.Name)
		}
		if err != nil {
			absent = append(absent, t)
		}
	}
	return absent
}

// install tries with the index that is there before it fetches a new one.
func install(ctx context.Context, packages []string) error {
	args := append([]string{"install", "-y", "--no-install-recommends"}, packages...)
	if aptGet(ctx, args...) == nil {
		return nil
	}
	if err := aptGet(ctx, "update"); err != nil {
		return err
	}
	return aptGet(ctx, args...)
}

func aptGet(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("apt-get %s: %w: %s", args[0], err, lines[len(lines)-1])
	}
	return nil
}
