package worker

import "errors"

// ErrRefused is wrapped by the errors of [Listen] if the daemon doesn't let the worker
// join: its user may not, the group is full, or there is no such group. The text
// says which.
var ErrRefused = errors.New("the daemon refuses")
