package show

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A Machine is where something was measured.
type Machine struct {
	Kernel string `json:"kernel"` // release
	CPU    string `json:"cpu"`    // model
	CPUs   int    `json:"cpus"`
}

// ThisMachine describes the one at hand.
func ThisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), Kernel: "unknown", CPU: cpuModel()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	return m
}

// cpuModel is the processor's name, where the kernel tells it.
func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if label, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(label) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// String is one line.
func (m Machine) String() string {
	return fmt.Sprintf("Linux %s, %s, %d CPUs", m.Kernel, m.CPU, m.CPUs)
}
