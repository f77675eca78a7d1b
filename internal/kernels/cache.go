package kernels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sockdist/sockdist/internal/kernels/debian"
)

// ErrNotCached is wrapped when a kernel is neither reachable nor in the cache.
var ErrNotCached = errors.New("not in the cache")

// releaseName is the file of a cached kernel that says what uname -r will. It is
// there from the moment the kernel's folder is.
const releaseName = "release"

// Cache keeps kernels in a folder:
//
//	apt/SUITE/                private apt indexes
//	NAME/VERSION/             one kernel: vmlinuz, modules/, release
//	lock                      held while the cache is looked through and filled
//
// Versions stay until someone deletes them: each takes some 15 MB.
type Cache struct {
	Dir    string
	Mirror func(context.Context) (debian.Mirror, error)
	MaxAge time.Duration // of an index before it is fetched again; 0 = always
	Log    io.Writer     // one line for whatever takes time or is odd
}

// Image is a kernel that can be booted.
type Image struct {
	Kernel
	Release string // as uname -r has it
	Version string // of the Debian package; "" if only the cache was asked
	Dir     string
}

// Vmlinuz is the path of the image.
func (i Image) Vmlinuz() string { return filepath.Join(i.Dir, debian.ImageName) }

// Modules is the folder with the modules, named in the order for loading them.
func (i Image) Modules() string { return filepath.Join(i.Dir, debian.ModulesDir) }

// Resolve asks the archive which version a kernel has now, without downloading it.
// Release is empty when that version isn't in the cache.
func (c Cache) Resolve(ctx context.Context, k Kernel) (Image, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	image, _, _, err := c.resolve(ctx, k, c.MaxAge)
	return image, err
}

// Get gives the kernel in the archive's present version, downloaded if need be.
// When the archive can't be reached, what the cache has is good enough.
func (c Cache) Get(ctx context.Context, k Kernel) (Image, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	image, err := c.present(ctx, k, c.MaxAge)
	if err != nil && ctx.Err() == nil && c.MaxAge > 0 {
		// The archive drops a version when the next one comes: the index may be behind.
		image, err = c.present(ctx, k, 0)
	}
	if err == nil || ctx.Err() != nil {
		return image, err
	}
	cached, cacheErr := c.latest(k)
	if cacheErr != nil {
		return Image{}, fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	fmt.Fprintf(c.Log, "kernel %s: %v; taking %s out of the cache\n", k.Name, err, cached.Release)
	return cached, nil
}

// present gives the version that an index of at most this age names.
func (c Cache) present(ctx context.Context, k Kernel, maxAge time.Duration) (Image, error) {
	image, index, parts, err := c.resolve(ctx, k, maxAge)
	if err != nil || image.Release != "" {
		return image, err
	}
	return c.fetch(ctx, image, index, parts)
}

func (c Cache) resolve(ctx context.Context, k Kernel, maxAge time.Duration) (Image, *debian.Index, []debian.Package, error) {
	mirror, err := c.Mirror(ctx)
	if err != nil {
		return Image{}, nil, nil, err
	}
	index, err := debian.OpenIndex(filepath.Join(c.Dir, "apt", k.Suite), k.source(mirror))
	if err != nil {
		return Image{}, nil, nil, err
	}
	if err := index.Update(ctx, maxAge); err != nil {
		fmt.Fprintf(c.Log, "kernel %s: %v\n", k.Name, err)
	}
	meta, parts, err := index.Kernel(ctx, k.Meta)
	if err != nil {
		return Image{}, nil, nil, err
	}
	image := Image{Kernel: k, Version: meta.Version, Dir: filepath.Join(c.Dir, k.Name, meta.Version)}
	image.Release, err = readRelease(image.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return image, index, parts, err
}

// fetch builds the kernel's folder aside; one rename puts it into the cache.
func (c Cache) fetch(ctx context.Context, image Image, index *debian.Index, parts []debian.Package) (Image, error) {
	fmt.Fprintf(c.Log, "kernel %s: downloading %s\n", image.Name, image.Version)
	aside, err := os.MkdirTemp(c.Dir, "new-*")
	if err != nil {
		return image, fmt.Errorf("make a folder in the cache: %w", err)
	}
	defer os.RemoveAll(aside)
	debs, err := index.Download(ctx, aside, parts)
	if err != nil {
		return image, err
	}
	built := filepath.Join(aside, "kernel")
	if err := os.Mkdir(built, 0o755); err != nil {
		return image, fmt.Errorf("make a folder in the cache: %w", err)
	}
	unpacked, err := debian.Unpack(ctx, debs, built, Modules)
	if err != nil {
		return image, err
	}
	if len(unpacked.Missing) > 0 {
		fmt.Fprintf(c.Log, "kernel %s: no module %s in its packages; taken to be built in\n", image.Name, strings.Join(unpacked.Missing, ", "))
	}
	image.Release = unpacked.Release
	return image, commit(built, image)
}

func commit(built string, image Image) error {
	if err := os.WriteFile(filepath.Join(built, releaseName), []byte(image.Release+"\n"), 0o644); err != nil {
		return fmt.Errorf("keep the kernel's release: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(image.Dir), 0o755); err != nil {
		return fmt.Errorf("make a folder in the cache: %w", err)
	}
	if err := os.Rename(built, image.Dir); err != nil {
		return fmt.Errorf("put the kernel into the cache: %w", err)
	}
	return nil
}

// latest gives the version of a kernel that came into the cache last.
func (c Cache) latest(k Kernel) (Image, error) {
	dirs, err := filepath.Glob(filepath.Join(c.Dir, k.Name, "*"))
	if err != nil {
		return Image{}, fmt.Errorf("look through the cache: %w", err)
	}
	var best Image
	var bestTime time.Time
	for _, dir := range dirs {
		info, err := os.Stat(filepath.Join(dir, releaseName))
		if err != nil || info.ModTime().Before(bestTime) {
			continue
		}
		if release, err := readRelease(dir); err == nil {
			best, bestTime = Image{Kernel: k, Release: release, Dir: dir}, info.ModTime()
		}
	}
	if best.Dir == "" {
		return Image{}, fmt.Errorf("kernel %s: %w in %s", k.Name, ErrNotCached, c.Dir)
	}
	return best, nil
}

func readRelease(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, releaseName))
	if err != nil {
		return "", fmt.Errorf("read a cached kernel's release: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
