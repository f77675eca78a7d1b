package kernels

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/kernels/debian"
)

var errAway = errors.New("the archive is away")

func cacheWithoutArchive(t *testing.T) (Cache, *bytes.Buffer) {
	var log bytes.Buffer
	return Cache{
		Dir:    t.TempDir(),
		Mirror: func(context.Context) (debian.Mirror, error) { return debian.Mirror{}, errAway },
		Log:    &log,
	}, &log
}

func TestGetWithoutArchive(t *testing.T) {
	cache, log := cacheWithoutArchive(t)
	k := All()[0]
	if _, err := cache.Get(t.Context(), k); !errors.Is(err, errAway) {
		t.Fatalf("empty cache: error %v, want the archive's", err)
	}
	keep(t, cache, k, "2", "release-2", time.Minute)
	keep(t, cache, k, "1", "release-1", time.Hour)
	check(t, os.MkdirAll(filepath.Join(cache.Dir, k.Name, "3"), 0o755)) // no kernel in it
	image, err := cache.Get(t.Context(), k)
	check(t, err)
	if image.Release != "release-2" || image.Vmlinuz() != filepath.Join(cache.Dir, k.Name, "2", "vmlinuz") {
		t.Errorf("got %+v, want the newest of the cache", image)
	}
	if !strings.Contains(log.String(), errAway.Error()) {
		t.Errorf("log %q doesn't say why", log)
	}
}

func TestLatestOfNone(t *testing.T) {
	cache, _ := cacheWithoutArchive(t)
	if _, err := cache.latest(All()[0]); !errors.Is(err, ErrNotCached) {
		t.Errorf("error %v, want ErrNotCached", err)
	}
}

func TestCacheLock(t *testing.T) {
	cache, log := cacheWithoutArchive(t)
	unlock, err := cache.lock(t.Context())
	check(t, err)
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := cache.lock(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: error %v, want that of the context", err)
	}
	if !strings.Contains(log.String(), cache.Dir) {
		t.Errorf("log %q doesn't say what is waited for", log)
	}
	unlock()
	unlock, err = cache.lock(t.Context())
	check(t, err)
	unlock()
}

// keep puts a kernel into the cache that came there some time ago.
func keep(t *testing.T, c Cache, k Kernel, version, release string, ago time.Duration) {
	t.Helper()
	dir := filepath.Join(c.Dir, k.Name, version)
	check(t, os.MkdirAll(dir, 0o755))
	file := filepath.Join(dir, releaseName)
	check(t, os.WriteFile(file, []byte(release+"\n"), 0o644))
	then := time.Now().Add(-ago)
	check(t, os.Chtimes(file, then, then))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
