package guest

import "fmt"

// ExitPort is the I/O port of QEMU's isa-debug-exit device.
const ExitPort = 0xf4

// The byte for exit code 0 is reportBase, not 0: QEMU makes (byte<<1)|1 of it,
// and ends with 1 itself when it can't start, which must not look like success.
const (
	reportBase = 16
	maxCode    = 100
)

// InitFailed is the exit code for a guest that could not run the tests at all.
const InitFailed = maxCode

// Report gives the byte to write to ExitPort for an exit code. Codes outside
// 0 … 99 are reported as 99.
func Report(code int) byte {
	switch {
	case code == InitFailed:
	case code < 0 || code >= maxCode:
		code = maxCode - 1
	}
	return byte(reportBase + code)
}

// Outcome reads QEMU's exit status: nil when the tests passed, else why not.
func Outcome(status int) error {
	code := status>>1 - reportBase
	switch {
	case status == 0:
		return fmt.Errorf("the kernel panicked or rebooted: see its last lines")
	case status&1 == 0 || code < 0 || code > maxCode:
		return fmt.Errorf("qemu ended with status %d: see its message", status)
	case code == InitFailed:
		return fmt.Errorf("init could not run the tests: see its message")
	case code != 0:
		return fmt.Errorf("exit code %d", code)
	}
	return nil
}
