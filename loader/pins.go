package loader

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"reflect"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
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
	if errors.Is(err, unix.EROFS) {
		return fmt.Errorf("bpffs is mounted read-only, mount -o remount,rw: %w", err)
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

func loadMap(path string) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(path, nil)
	return m, explainPin(err)
}

func loadProgram(path string) (*ebpf.Program, error) {
	p, err := ebpf.LoadPinnedProgram(path, nil)
	return p, explainPin(err)
}

func loadLink(path string) (link.Link, error) {
	l, err := link.LoadPinnedLink(path, nil)
	return l, explainPin(err)
}
