package sim

import "errors"

// ErrNoCompiler is what every simulation of a policy gives in a program that was built without cgo.
var ErrNoCompiler = errors.New("the simulation compiles bpf/select.h natively and needs a C compiler: install gcc and build with CGO_ENABLED=1")
