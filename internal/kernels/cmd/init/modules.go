package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/kernels/guest"
)

// loadModules loads what is in the folder, in the order of names, which is the
// order in which modules need each other.
func loadModules() error {
	files, err := filepath.Glob(guest.ModulesDir + "/*.ko")
	if err != nil {
		return fmt.Errorf("list modules: %w", err)
	}
	slices.Sort(files)
	for _, file := range files {
		if err := loadModule(file); err != nil {
			return fmt.Errorf("load module %s: %w", file, err)
		}
	}
	return nil
}

func loadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
