//go:build !amd64

package main

import (
	"errors"
	"fmt"
)

// writePort is here so that the module builds everywhere: guests are amd64.
func writePort(port uint16, _ byte) error {
	return fmt.Errorf("write to I/O port %#x: %w", port, errors.ErrUnsupported)
}
