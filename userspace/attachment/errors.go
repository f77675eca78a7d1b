package attachment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

var (
	// ErrNobody: no socket listens at the address.
	ErrNobody = errors.New("nothing listens there")
	// ErrUsers: sockets of different users listen at the address.
	ErrUsers = errors.New("sockets of different users listen there")
	// ErrName: the group can't have the name.
	ErrName = errors.New("can't be the name")
	// ErrApp: the group belongs to an app, which looks after it.
	ErrApp = errors.New("it belongs to an app")
	// ErrLibrary: the group's workers have joined by themselves, and a daemon looks after them.
	ErrLibrary = errors.New("it is a library group")
	// ErrAmbiguous: the address means groups that can't be told apart.
	ErrAmbiguous = errors.New("ambiguous")

	// errGone: the socket went away while it was being dealt with.
	errGone = errors.New("the socket is gone")
)

// gone tells the errors of a socket or process that ended meanwhile.
func gone(err error) bool {
	return errors.Is(err, errGone) || errors.Is(err, os.ErrProcessDone) ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, sockets.ErrChanged)
}

// explain says what was being done, and makes what is forbidden a lack of privilege.
func explain(err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: interrupted, nothing is left half done: %w", what, err)
	case errors.Is(err, fs.ErrPermission) && !errors.Is(err, loader.ErrNotSupported):
		err = &loader.UnsupportedError{Feature: "reaching the sockets of other processes", Err: err,
			Advice: "run as root"}
	}
	return fmt.Errorf("%s: %w", what, err)
}
