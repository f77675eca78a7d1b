package loader

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// FloorKernel is the first Linux version that has all that is needed.
const FloorKernel = "6.1"

// A FeatureKind says what sort of thing a Feature is.
type FeatureKind string

const (
	FeatureTypes       FeatureKind = "kernel types" // BTF: where the fields of kernel structs are
	FeatureInstruction FeatureKind = "instructions"
	FeatureProgram     FeatureKind = "program types"
	FeatureMap         FeatureKind = "map types"
	FeatureHelper      FeatureKind = "helpers"
	FeatureObject      FeatureKind = "own programs" // the verifier's word on them
	FeatureAttachment  FeatureKind = "attachments"
	FeatureTrial       FeatureKind = "trial" // all of it at work
)

// A Feature is one thing that this kernel must be able to do.
type Feature struct {
	Kind      FeatureKind
	Name      string // within its kind, such as "steer: bpf_loop"
	MinKernel string // the first Linux version that has it
	Err       error  // nil: it is there
}

// Denied tells that this user, or a seccomp filter or security module, is in
// the way: whether the kernel could is not known.
func (f Feature) Denied() bool { return errors.Is(f.Err, unix.EPERM) }

// Missing tells that the kernel can't. Neither Missing nor Denied, with an
// error, is an answer that settles nothing.
func (f Feature) Missing() bool { return !f.Denied() && errors.Is(f.Err, ErrNotSupported) }

// Features tries all that sockdist needs of the kernel, beginning with the
// parts, down to a trial of the whole. The list of parts comes from the programs
// themselves. For a user who may not use BPF the answer is short, and Denied. It
// leaves nothing behind: what it loads and attaches is in no file system,
// and ends with the call or with the process. It takes some tenths of a second.
func Features() []Feature {
	spec, err := objectSpec()
	if err != nil {
		return []Feature{{Kind: FeatureObject, Name: "read", MinKernel: FloorKernel, Err: err}}
	}
	for name := range spec.Programs {
		if strings.HasPrefix(name, "bench_") {
			delete(spec.Programs, name)
		}
	}
	if err := mayLoad(); err != nil {
		return []Feature{kernelTypes(), {Kind: FeatureObject, Name: "all", MinKernel: FloorKernel, Err: err}}
	}
	all := []Feature{kernelTypes(), instructionSet()}
	all = append(all, programTypes(spec)...)
	all = append(all, mapTypes(spec)...)
	all = append(all, helpers(spec)...)
	all = append(all, ownPrograms(spec)...)
	return append(all, tracepoint(), iterator(), trial())
}

// mayLoad tells whether this user may use BPF beyond what anybody may. If not,
// nothing that the kernel says can be relied on.
func mayLoad() error {
	if err := features.HaveMapType(ebpf.Array); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("make a BPF map: %w", unix.EPERM)
	}
	if err := features.HaveProgramType(ebpf.SkReuseport); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("load a BPF program: %w", unix.EPERM)
	}
	return nil
}

// feature makes a kernel's "no" an UnsupportedError, and leaves "may not" and "don't know" as they are.
func feature(kind FeatureKind, name, minKernel string, err error) Feature {
	var verifier *ebpf.VerifierError
	denied := errors.Is(err, unix.EPERM)
	if !denied && !errors.Is(err, ErrNotSupported) && (errors.Is(err, ebpf.ErrNotSupported) || errors.As(err, &verifier)) {
		err = &UnsupportedError{Feature: name, MinKernel: minKernel, Err: err}
	}
	return Feature{Kind: kind, Name: name, MinKernel: minKernel, Err: err}
}

func kernelTypes() Feature {
	_, err := btf.LoadKernelSpec()
	if err != nil && !errors.Is(err, unix.EPERM) {
		err = &UnsupportedError{Feature: "kernel BTF", MinKernel: "5.4", Err: err, Advice: "use a kernel with CONFIG_DEBUG_INFO_BTF"}
	}
	return Feature{Kind: FeatureTypes, Name: "BTF", MinKernel: "5.4", Err: err}
}

func instructionSet() Feature {
	return feature(FeatureInstruction, "v3", "5.1", features.HaveV3ISA())
}

// programsByName goes through them in the same order each time.
func programsByName(spec *ebpf.CollectionSpec) []*ebpf.ProgramSpec {
	var programs []*ebpf.ProgramSpec
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		programs = append(programs, spec.Programs[name])
	}
	return programs
}

// ownPrograms loads each program by itself, as it is loaded in earnest.
func ownPrograms(spec *ebpf.CollectionSpec) (all []Feature) {
	for _, program := range programsByName(spec) {
		all = append(all, feature(FeatureObject, program.Name, FloorKernel, loadAlone(spec, program.Name)))
	}
	return all
}

func loadAlone(spec *ebpf.CollectionSpec, name string) error {
	alone := spec.Copy()
	maps.DeleteFunc(alone.Programs, func(other string, _ *ebpf.ProgramSpec) bool { return other != name })
	collection, err := ebpf.NewCollection(alone)
	if err != nil {
		return fmt.Errorf("load %s: %w", name, err)
	}
	collection.Close()
	return nil
}
