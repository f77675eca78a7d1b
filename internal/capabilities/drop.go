package capabilities

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrCgo is wrapped when the program was built with cgo. Then it may have
// threads that Go knows nothing of, and that would keep what others give up.
var ErrCgo = errors.New("built with cgo: build it with CGO_ENABLED=0")

// Drop reduces the effective, permitted and inheritable capabilities, and with
// them the ambient ones, to those in keep: for all threads of the process, and
// for good. It adds none. The bounding set stays; it is for what is started.
//
// It fails before it did anything, or not at all.
func Drop(keep Set) error {
	own, err := Read()
	if err != nil {
		return err
	}
	effective, permitted, inheritable := own.Effective&keep, own.Permitted&keep, own.Inheritable&keep
	if effective == own.Effective && permitted == own.Permitted && inheritable == own.Inheritable {
		return nil
	}
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := &[2]unix.CapUserData{
		{Effective: uint32(effective), Permitted: uint32(permitted), Inheritable: uint32(inheritable)},
		{Effective: uint32(effective >> 32), Permitted: uint32(permitted >> 32), Inheritable: uint32(inheritable >> 32)},
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(data)), 0)
	runtime.KeepAlive(header)
	runtime.KeepAlive(data)
	return explain("give up capabilities", errno)
}

// LowerAmbient takes capabilities out of the ambient set, that is from what
// programs get that are started as another user than root. The process itself
// keeps them.
func LowerAmbient(some Set) error {
	own, err := Read()
	if err != nil {
		return err
	}
	for _, c := range (own.Ambient & some).List() {
		_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, uintptr(c), 0, 0, 0)
		if err := explain("lower ambient capabilities", errno); err != nil {
			return err
		}
	}
	return nil
}

// RefuseNewPrivileges sets no_new_privs for all threads: no program that this
// process starts, from now on, gets more than the process has, by setuid bits,
// by file capabilities, or by being root.
func RefuseNewPrivileges() error {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	return explain("set no_new_privs", errno)
}

func explain(what string, errno syscall.Errno) error {
	switch errno {
	case 0:
		return nil
	case unix.ENOTSUP: // only AllThreadsSyscall says this here
		return fmt.Errorf("%s: %w", what, ErrCgo)
	}
	return fmt.Errorf("%s: %w", what, errno)
}
