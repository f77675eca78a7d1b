package loader

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// twins are the structs that the programs and this package share.
var twins = map[string]any{
	"slot": abiSlot{}, "slot_info": abiSlotInfo{}, "group_counters": abiGroupCounters{}, "group_meta": abiGroupMeta{},
	"group": abiGroup{}, "load": abiLoad{}, "loads": abiLoads{}, "origin": abiOrigin{}, "app": abiApp{},
	"probe": abiProbe{}, "probe_key": abiProbeKey{},
}

func objectOf(t *testing.T) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := objectSpec()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// structOf finds a struct of the object. What the programs use is there by
// name; what only a map's value has is found through the map.
func structOf(t *testing.T, spec *ebpf.CollectionSpec, name string) *btf.Struct {
	t.Helper()
	var found *btf.Struct
	if err := spec.Types.TypeByName(name, &found); err == nil {
		return found
	} else if !errors.Is(err, btf.ErrNotFound) {
		t.Fatalf("struct %s: %v", name, err)
	}
	for _, m := range spec.Maps {
		if s, ok := btf.UnderlyingType(m.Value).(*btf.Struct); ok && s.Name == name {
			return s
		}
	}
	t.Fatalf("struct %s is not in the object", name)
	return nil
}

func TestABI(t *testing.T) {
	spec := objectOf(t)
	for name, twin := range twins {
		t.Run(name, func(t *testing.T) { compareStruct(t, structOf(t, spec, name), reflect.TypeOf(twin)) })
	}
}

// compareStruct wants the same fields, in the same places.
func compareStruct(t *testing.T, c *btf.Struct, g reflect.Type) {
	t.Helper()
	if uintptr(c.Size) != g.Size() {
		t.Errorf("%d bytes, in Go %d", c.Size, g.Size())
	}
	if len(c.Members) != g.NumField() {
		t.Fatalf("%d fields, in Go %d", len(c.Members), g.NumField())
	}
	for i, member := range c.Members {
		field := g.Field(i)
		if goName := strings.ReplaceAll(member.Name, "_", ""); !strings.EqualFold(goName, field.Name) {
			t.Errorf("field %d is %s, in Go %s", i, member.Name, field.Name)
		}
		if member.BitfieldSize != 0 || uintptr(member.Offset.Bytes()) != field.Offset {
			t.Errorf("%s stands at %d, in Go at %d", member.Name, member.Offset.Bytes(), field.Offset)
		}
		compareType(t, member.Name, member.Type, field.Type)
	}
}

func compareType(t *testing.T, name string, c btf.Type, g reflect.Type) {
	t.Helper()
	size, err := btf.Sizeof(c)
	if err != nil || uintptr(size) != g.Size() {
		t.Errorf("%s has %d bytes, in Go %d (%v)", name, size, g.Size(), err)
		return
	}
	switch c := btf.UnderlyingType(c).(type) {
	case *btf.Array:
		if g.Kind() != reflect.Array || int(c.Nelems) != g.Len() {
			t.Errorf("%s has %d elements, in Go it is %v", name, c.Nelems, g)
			return
		}
		compareType(t, name+"[]", c.Type, g.Elem())
	case *btf.Struct:
		if want := structTwin(c.Name); want != g {
			t.Errorf("%s is struct %s, in Go %v", name, c.Name, g)
		}
	case *btf.Int:
		if kind := intKinds[c.Size]; c.Encoding == btf.Signed && c.Size > 1 || g.Kind() != kind {
			t.Errorf("%s is %v, in Go %v", name, c, g)
		}
	default:
		t.Errorf("%s is %v: not compared", name, c)
	}
}

var intKinds = map[uint32]reflect.Kind{1: reflect.Uint8, 2: reflect.Uint16, 4: reflect.Uint32, 8: reflect.Uint64}

func structTwin(name string) reflect.Type {
	if twin, ok := twins[name]; ok {
		return reflect.TypeOf(twin)
	}
	return nil
}

// Every struct of a map's value has its twin in the list.
func TestABIOfMaps(t *testing.T) {
	spec := objectOf(t)
	values := map[string]string{objectMapSlots: "group", objectMapLoads: "loads", objectMapApp: "app",
		objectMapOrigins: "origin", objectMapMoved: "origin", objectMapAccepted: "origin", objectMapProbes: "probe"}
	for name, want := range values {
		m := spec.Maps[name]
		value, ok := btf.UnderlyingType(m.Value).(*btf.Struct)
		if !ok || value.Name != want {
			t.Errorf("map %s has values of %v, not struct %s", name, m.Value, want)
		}
		if size := uint32(structTwin(want).Size()); m.ValueSize != size {
			t.Errorf("map %s has values of %d bytes, not %d", name, m.ValueSize, size)
		}
	}
	sizes := map[string]uint32{objectMapSlots: 1, objectMapLoads: 1, objectMapApp: 1,
		objectMapSockets: MaxSlots, objectMapProbes: maxProbes, objectMapGroups: MaxGroups, objectMapApps: MaxApps}
	for name, want := range sizes {
		if got := spec.Maps[name].MaxEntries; got != want {
			t.Errorf("map %s has %d entries, not %d", name, got, want)
		}
	}
}

// header is bpf/abi.h: the compiler leaves out of BTF what no map, variable or
// function is of, and that is every enum, and struct event. What else the
// constants say, sizes of arrays and maps do too.
func header(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../bpf/abi.h")
	if errors.Is(err, fs.ErrNotExist) && emulated() {
		t.Skip("a guest has no sources")
	}
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(string(text), "")
}

func TestABIConstants(t *testing.T) {
	want := map[string]int{
		"SLOTS": MaxSlots, "BLOCK": blockSlots, "BLOCKS": blocks, "ROWS": hashRows, "ORDER": orderPlaces,
		"GROUPS": MaxGroups, "APPS": MaxApps, "NAME_BYTES": MaxName + 1, "PORTS": MaxPorts,
		"MOVED":  int(objectOf(t).Maps[objectMapMoved].MaxEntries),
		"PROBES": maxProbes, "HOLD_DRAIN": int(HoldDrain), "HOLD_START": int(HoldStart),
		"HOLD_HANG": int(HoldHang), "HOLD_LEAVE": int(HoldLeave), "HOLD_SELF": int(HoldSelf),
		"POLICY_LEAST": int(Least), "POLICY_P2C": int(P2C), "POLICY_RR": int(RR),
		"POLICY_RANDOM": int(Random), "POLICY_HASH": int(Hash),
		"SLOT_FREE": int(Free), "SLOT_LIVE": int(Live), "SLOT_DRAINING": int(Draining), "SLOT_GONE": int(Gone),
		"EVENT_LISTENING": int(Listening), "EVENT_CLOSED": int(Closed), "EVENT_STRANGER": int(Stranger),
	}
	if got := enumerators(t, header(t)); !maps.Equal(got, want) {
		t.Errorf("in C %v\nin Go %v", got, want)
	}
	if len(policyNames) != int(Hash)+1 || len(stateNames) != int(Starting)+1 {
		t.Errorf("%d policies and %d states have names", len(policyNames), len(stateNames))
	}
}

var enumBody = regexp.MustCompile(`(?s)enum\s*\w*\s*\{(.*?)\}`)

// enumerators are all names of all enums. A value is a number, or one name divided by another.
func enumerators(t *testing.T, text string) map[string]int {
	t.Helper()
	values := make(map[string]int)
	for _, body := range enumBody.FindAllStringSubmatch(text, -1) {
		next := 0
		for line := range strings.SplitSeq(body[1], ",") {
			name, expression, given := strings.Cut(strings.TrimSpace(line), "=")
			if name == "" {
				continue
			}
			if a, b, divided := strings.Cut(expression, "/"); divided {
				next = values[strings.TrimSpace(a)] / values[strings.TrimSpace(b)]
			} else if given {
				var err error
				if next, err = strconv.Atoi(strings.TrimSpace(expression)); err != nil {
					t.Fatal(err)
				}
			}
			values[strings.TrimSpace(name)] = next
			next++
		}
	}
	return values
}

var (
	eventBody = regexp.MustCompile(`(?s)struct event \{(.*?)\n\};`)
	cField    = regexp.MustCompile(`__u(8|16|32|64) (\w+)(?:\[(\d+)\])?;`)
)

// A struct of integers that has no padding has the same layout in C and Go.
func TestABIOfEvents(t *testing.T) {
	body := eventBody.FindStringSubmatch(header(t))
	if body == nil {
		t.Fatal("no struct event")
	}
	twin, offset := reflect.TypeFor[abiEvent](), uintptr(0)
	fields := cField.FindAllStringSubmatch(body[1], -1)
	if len(fields) != twin.NumField() {
		t.Fatalf("%d fields, in Go %d", len(fields), twin.NumField())
	}
	for i, c := range fields {
		bits, _ := strconv.Atoi(c[1])
		kind := intKinds[uint32(bits/8)]
		field, element := twin.Field(i), twin.Field(i).Type
		if c[3] != "" {
			if n, _ := strconv.Atoi(c[3]); element.Kind() != reflect.Array || element.Len() != n {
				t.Fatalf("%s has %s elements, in Go it is %v", c[2], c[3], element)
			}
			element = element.Elem()
		}
		if !strings.EqualFold(strings.ReplaceAll(c[2], "_", ""), field.Name) || element.Kind() != kind || field.Offset != offset {
			t.Errorf("u%s %s at %d is in Go %s %v at %d", c[1], c[2], offset, field.Name, element, field.Offset)
		}
		offset += field.Type.Size()
	}
	if twin.Size() != offset {
		t.Errorf("%d bytes of fields, in Go %d", offset, twin.Size())
	}
}
