package loader

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"reflect"
)

type pinner interface{ Pin(path string) error }

func pinAll(dir string, what map[string]pinner) error {
	for name, p := range what {
		if err := p.Pin(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pin %s: %w", name, explainPin(err))
		}
	}
	return nil
}

func explainPin(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &UnsupportedError{Feature: "the pin folder", Err: err, Advice: "run as root"}
	}
	return err
}

// closeAll closes what is there; handles of kernel objects have nothing to say at the end.
func closeAll(closers ...io.Closer) {
	for _, c := range closers {
		if c != nil && !reflect.ValueOf(c).IsNil() {
			c.Close()
		}
	}
}
