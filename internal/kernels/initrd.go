package kernels

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/sockdist/sockdist/internal/kernels/cpio"
	"github.com/sockdist/sockdist/internal/kernels/guest"
)

// testBinary is where the tests of a package are in the guest.
func testBinary(p Package) string { return path.Join(guest.TestsDir, p.Path, "test") }

// writeInitrd writes the initial file system of one boot.
func writeInitrd(file string, image Image, initBinary string, p Package) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("make the initial file system: %w", err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	buffered := bufio.NewWriterSize(f, 1<<20)
	w := cpio.NewWriter(buffered)
	binary := testBinary(p)
	err = firstError(
		func() error { return addFile(w, "init", initBinary) },
		func() error { return addTree(w, guest.ModulesDir[1:], image.Modules()) },
		func() error { return addFile(w, binary[1:], p.Binary) },
		func() error {
			return addTree(w, path.Join(path.Dir(binary), "testdata")[1:], filepath.Join(p.Dir, "testdata"))
		},
		w.Close,
		buffered.Flush,
	)
	if err != nil {
		return fmt.Errorf("write the initial file system: %w", err)
	}
	return nil
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// addTree adds a folder with all that is in it; a folder that isn't there is empty.
func addTree(w *cpio.Writer, name, dir string) error {
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		return nil
	}
	return filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		return addEntry(w, path.Join(name, filepath.ToSlash(relative)), file, entry)
	})
}

func addEntry(w *cpio.Writer, name, file string, entry fs.DirEntry) error {
	switch entry.Type() {
	case fs.ModeDir:
		return w.Folder(name, 0o755)
	case fs.ModeSymlink:
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		return w.Symlink(name, target)
	case 0:
		return addFile(w, name, file)
	}
	return fmt.Errorf("%s is %v: only files, folders and links can travel", file, entry.Type())
}

func addFile(w *cpio.Writer, name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.File(name, info.Mode(), info.Size(), f)
}
