package loader

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// epochSeconds: a pick whose handshake does not end is forgotten after one to two of these.
const epochSeconds = 1

// kernelBTF is decoded once a process: that takes as long as the rest of a load.
var kernelBTF = btf.NewCache()

// tick is the length of a jiffy, in nanoseconds: the resolution of the coarse clock.
func tick() int64 {
	var ts unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &ts); err != nil || ts.Nano() <= 0 {
		return 4_000_000
	}
	return ts.Nano()
}

func objectSpec() (*ebpf.CollectionSpec, error) {
	spec, err := loadObject()
	if err != nil {
		return nil, fmt.Errorf("read BPF object: %w", err)
	}
	jiffy := tick()
	if err := spec.Variables[objectVarEpochJiffies].Set(uint64(epochSeconds * 1_000_000_000 / jiffy)); err != nil {
		return nil, fmt.Errorf("set epoch: %w", err)
	}
	if err := spec.Variables[objectVarJiffyUs].Set(uint64(max(jiffy/1000, 1))); err != nil {
		return nil, fmt.Errorf("set jiffy: %w", err)
	}
	return spec, nil
}

// load creates the programs and maps that the fields of objects name, with the host's maps in place of new ones.
func load(objects any, replace map[string]*ebpf.Map) error {
	spec, err := objectSpec()
	if err != nil {
		return err
	}
	return explainLoad(spec.LoadAndAssign(objects, &ebpf.CollectionOptions{MapReplacements: replace, Cache: kernelBTF}))
}

// explainLoad turns the kernel's refusal into what is missing.
func explainLoad(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return &UnsupportedError{Feature: "loading BPF programs", Err: err,
			Advice: "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"}
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("no memory for maps or programs, raise the memory limit of this cgroup (memory.max): %w", err)
	case errors.Is(err, ebpf.ErrNotSupported), errors.As(err, &verifier):
		return &UnsupportedError{Feature: "the BPF program", MinKernel: "6.1", Err: err}
	case strings.Contains(err.Error(), "BTF"):
		return &UnsupportedError{Feature: "kernel BTF", MinKernel: "6.1", Err: err, Advice: "use a kernel with CONFIG_DEBUG_INFO_BTF"}
	}
	return fmt.Errorf("load BPF object: %w", err)
}
