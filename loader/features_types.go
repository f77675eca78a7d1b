package loader

import (
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
)

// programKernels are the kernels that first had a type of program together with
// the way it is attached, by the section it is in.
var programKernels = map[string]string{
	"sk_reuseport/migrate":       "5.14",
	"tp_btf/inet_sock_set_state": "5.5",
	"iter/tcp":                   "5.9",
	"cgroup/bind4":               "4.17",
	"cgroup/bind6":               "4.17",
	"cgroup/connect4":            "4.17",
	"cgroup/connect6":            "4.17",
}

// mapKernels are the kernels that first had a type of map.
var mapKernels = map[ebpf.MapType]string{
	ebpf.Hash:               "3.19",
	ebpf.Array:              "3.19",
	ebpf.ArrayOfMaps:        "4.12",
	ebpf.ReusePortSockArray: "4.19",
	ebpf.SkStorage:          "5.2",
	ebpf.RingBuf:            "5.8",
}

// mapFlagKernels are the kernels that first had a flag of a map.
var mapFlagKernels = []struct {
	flag   features.MapFlags
	name   string
	kernel string
}{
	{features.BPF_F_NO_PREALLOC, "not preallocated", "4.6"},
	{features.BPF_F_MMAPABLE, "mapped into memory", "5.5"},
}

// programTypes loads, for each kind of program that there is, one that does nothing.
func programTypes(spec *ebpf.CollectionSpec) (all []Feature) {
	tried := make(map[string]bool)
	for _, program := range programsByName(spec) {
		section := program.SectionName
		if tried[section] {
			continue
		}
		tried[section] = true
		all = append(all, feature(FeatureProgram, section, programKernels[section], tryProgram(program, tell(program)...)))
	}
	return all
}

// migratingSocket is the offset of migrating_sk in struct sk_reuseport_md.
const migratingSocket = 48

// tell is what a program must do for the kernel to say whether it knows the
// way of attaching: for sk_reuseport, kernels before migration ignore it.
func tell(program *ebpf.ProgramSpec) asm.Instructions {
	if program.AttachType != ebpf.AttachSkReuseportSelectOrMigrate {
		return nil
	}
	return asm.Instructions{asm.LoadMem(asm.R0, asm.R1, migratingSocket, asm.DWord)}
}

// tryProgram loads these instructions, then "return 1", which every type here may, as a program of the same kind as like.
func tryProgram(like *ebpf.ProgramSpec, instructions ...asm.Instruction) error {
	program, err := ebpf.NewProgramWithOptions(&ebpf.ProgramSpec{
		Type:         like.Type,
		AttachType:   like.AttachType,
		AttachTo:     like.AttachTo,
		License:      like.License,
		Instructions: append(instructions, asm.Mov.Imm(asm.R0, 1), asm.Return()),
	}, ebpf.ProgramOptions{LogLevel: ebpf.LogLevelBranch})
	if err != nil {
		return err
	}
	return program.Close()
}

func mapTypes(spec *ebpf.CollectionSpec) (all []Feature) {
	types := make(map[ebpf.MapType]bool)
	var flags uint32
	for _, m := range spec.Maps {
		types[m.Type] = true
		flags |= m.Flags
		if m.InnerMap != nil {
			types[m.InnerMap.Type] = true
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(types)) {
		all = append(all, feature(FeatureMap, mapName(kind), mapKernels[kind], features.HaveMapType(kind)))
	}
	for _, f := range mapFlagKernels {
		if flags&uint32(f.flag) != 0 {
			all = append(all, feature(FeatureMap, f.name, f.kernel, features.HaveMapFlag(f.flag)))
		}
	}
	return all
}

// mapName is the kernel's: reuseport_sockarray, not ReusePortSockArray.
func mapName(kind ebpf.MapType) string {
	switch kind {
	case ebpf.ReusePortSockArray:
		return "reuseport_sockarray"
	case ebpf.RingBuf:
		return "ringbuf"
	}
	return snake(kind.String())
}

func snake(camel string) string {
	var b strings.Builder
	for i, c := range camel {
		if c >= 'A' && c <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}
