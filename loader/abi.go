package loader

// The twins of the structs in bpf/abi.h; TestABI compares them through BTF.

const (
	// MaxSlots is the number of slots a group can have.
	MaxSlots = 256
	// MaxGroups is the number of groups a host can have.
	MaxGroups = 1024
	// MaxApps is the number of apps a host can have.
	MaxApps = 256
	// MaxPorts is the number of ports that one app can be restricted to.
	MaxPorts = 16
	// MaxName is the longest name of a group or app, in bytes.
	MaxName = 63

	maxProbes   = 4096
	blockSlots  = 8
	blocks      = MaxSlots / blockSlots
	hashRows    = 4096
	orderPlaces = 1024
	noMax       = ^uint32(0)
)

type abiSlot struct {
	Picks  uint64
	Counts uint64
	Scale  uint32
	Max    uint32
	Cookie uint64
}

type abiSlotInfo struct {
	Settled    [2]uint64
	Mark       [2]uint64
	Migrated   uint64
	MovedOut   uint64
	Opened     uint64
	Probed     uint64
	Start      uint64
	Pid        uint32
	State      uint32
	Generation uint32
	Weight     uint32
	Reports    uint32
	Hold       uint32
}

type abiGroupCounters struct {
	Refused       uint64
	Fallback      uint64
	Retries       uint64
	Migrated      uint64
	MigrateFailed uint64
	Stale         uint64
	ProbeMissed   uint64
	Unmarked      uint64
	Corrected     uint64
	Pad           [7]uint64
}

type abiGroupMeta struct {
	Name    [MaxName + 1]byte
	App     [MaxName + 1]byte
	Address [16]byte
	Netns   uint64
	Port    uint16
	Ipv6    uint8
	V6only  uint8
	Pad     uint32
}

type abiGroup struct {
	EpochAt   uint64
	EpochNs   uint64
	Epoch     uint32
	Id        uint32
	Blocks    uint32
	Policy    uint32
	Turns     uint32
	Reporting uint32
	Moved     uint64
	Probing   uint32
	Changing  uint32
	Pad0      uint64
	Turn      uint64
	Pad1      [7]uint64
	Hint      [blocks]uint64
	Seq       [blocks]uint32
	Counters  abiGroupCounters
	Slot      [MaxSlots]abiSlot
	Info      [MaxSlots]abiSlotInfo
	Rows      [hashRows]uint8
	Order     [orderPlaces]uint8
	Meta      abiGroupMeta
}

type abiLoad struct {
	Load     uint64
	Beat     uint64
	Requests uint64
	Pad      [5]uint64
}

type abiLoads struct {
	Slot [MaxSlots]abiLoad
}

type abiOrigin struct {
	Group      uint32
	Generation uint32
	Slot       uint8
	Told       uint8
	Counted    uint8
	Reuseport  uint8
	App        uint32
}

type abiProbeKey struct {
	Address [4]uint32
	Group   uint32
	Port    uint16
	Pad     uint16
}

type abiProbe struct {
	Expires    uint64
	Generation uint32
	Slot       uint8
	Picked     uint8
	Opened     uint16
}

type abiApp struct {
	Name       [MaxName + 1]byte
	Id         uint32
	Supervisor uint32
	Udp        uint32
	Ports      uint32
	Port       [MaxPorts]uint16
}

type abiEvent struct {
	Cookie  uint64
	Cgroup  uint64
	Kind    uint32
	Pid     uint32
	Address [16]byte
	Port    uint16
	Ipv6    uint8
	V6only  uint8
	Pad     uint32
}
