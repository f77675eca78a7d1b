package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Names in a folder that Unpack has filled.
const (
	ImageName  = "vmlinuz"
	ModulesDir = "modules"
)

// ErrNoImage is wrapped when packages hold no kernel image.
var ErrNoImage = errors.New("no kernel image in the packages")

// Unpacked tells what Unpack found.
type Unpacked struct {
	Release string   // as uname -r has it
	Missing []string // wanted modules that the packages don't have; they may be built in
}

// Unpack takes the kernel image and the wanted modules, with the modules that
// those need, out of packages and puts them into dir: the image as ImageName,
// the modules uncompressed into ModulesDir, named so that they sort in the order
// in which they can be loaded.
func Unpack(ctx context.Context, debs []string, dir string, wanted []string) (Unpacked, error) {
	var u Unpacked
	modules := moduleSet{}
	for todo := wanted; len(todo) > 0; todo = modules.lacking() {
		modules.want(todo)
		for _, deb := range debs {
			err := eachFile(ctx, deb, func(name string, content io.Reader) error {
				if m := imageFile.FindStringSubmatch(name); m != nil && u.Release == "" {
					u.Release = m[1] + m[2]
					return writeFile(filepath.Join(dir, ImageName), content)
				}
				return modules.take(ctx, name, content)
			})
			if err != nil {
				return u, err
			}
		}
	}
	if u.Release == "" {
		return u, fmt.Errorf("%v: %w", debs, ErrNoImage)
	}
	u.Missing = modules.missing()
	return u, modules.write(filepath.Join(dir, ModulesDir))
}

func writeFile(name string, content io.Reader) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, content); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Close()
}
