package loader

import (
	"errors"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// helperKernels are the kernels that first had a helper for the programs that
// call it, which can be later than for others.
var helperKernels = map[asm.BuiltinFunc]string{
	asm.FnMapLookupElem:        "3.19",
	asm.FnMapUpdateElem:        "3.19",
	asm.FnMapDeleteElem:        "3.19",
	asm.FnKtimeGetNs:           "4.1",
	asm.FnGetCurrentCgroupId:   "4.18",
	asm.FnSkSelectReuseport:    "4.19",
	asm.FnSkbLoadBytes:         "4.19", // for sk_reuseport
	asm.FnSkbLoadBytesRelative: "4.19",
	asm.FnSkLookupTcp:          "4.20",
	asm.FnSkRelease:            "4.20",
	asm.FnJiffies64:            "5.5",
	asm.FnProbeReadKernel:      "5.5",
	asm.FnSeqWrite:             "5.7",
	asm.FnRingbufOutput:        "5.8",
	asm.FnSkStorageDelete:      "5.8",
	asm.FnSkcToTcpSock:         "5.9",
	asm.FnSkStorageGet:         "5.11", // for tracepoints
	asm.FnGetSocketCookie:      "5.14", // for sk_reuseport
	asm.FnLoop:                 "5.17",
	asm.FnSetRetval:            "5.18",
	asm.FnGetCurrentPidTgid:    "6.1", // for cgroup/bind
	asm.FnSetsockopt:           "6.1", // SO_REUSEPORT in cgroup/bind
	asm.FnGetsockopt:           "6.1",
}

// helpers tries, for each program, each helper that it calls: a helper can be
// there for one type of program and not for another.
func helpers(spec *ebpf.CollectionSpec) (all []Feature) {
	type probe struct {
		section string
		helper  asm.BuiltinFunc
	}
	tried := make(map[probe]bool)
	for _, program := range programsByName(spec) {
		for _, helper := range calls(program) {
			p := probe{program.SectionName, helper}
			if tried[p] {
				continue
			}
			tried[p] = true
			all = append(all, feature(FeatureHelper, p.section+": "+helperName(helper), helperKernels[helper], tryHelper(program, helper)))
		}
	}
	return all
}

func calls(program *ebpf.ProgramSpec) (helpers []asm.BuiltinFunc) {
	for _, ins := range program.Instructions {
		if ins.IsBuiltinCall() {
			helpers = append(helpers, asm.BuiltinFunc(ins.Constant))
		}
	}
	slices.Sort(helpers)
	return slices.Compact(helpers)
}

// helperName is the kernel's: bpf_map_lookup_elem, not FnMapLookupElem.
func helperName(helper asm.BuiltinFunc) string {
	return "bpf_" + snake(strings.TrimPrefix(helper.String(), "Fn"))
}

// unknownHelper are the verifier's words for a helper that isn't there, at all
// or for this type of program.
var unknownHelper = []string{"invalid func ", "unknown func ", "program of this type cannot use helper"}

// tryHelper calls the helper with no proper arguments. A kernel that has it
// complains of these, or of nothing.
func tryHelper(like *ebpf.ProgramSpec, helper asm.BuiltinFunc) error {
	err := tryProgram(like, helper.Call())
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) {
		return err
	}
	log := strings.Join(verifier.Log, "\n")
	for _, words := range unknownHelper {
		if strings.Contains(log, words) {
			return err
		}
	}
	return nil
}
