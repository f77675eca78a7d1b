package result

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/show"
)

// ThisMachine describes the one at hand as far as it can be asked: what isn't
// there is left out. Clients and Servers are the caller's to fill.
func ThisMachine() Machine {
	known := show.ThisMachine()
	m := Machine{
		Kernel: known.Kernel, CPU: known.CPU, CPUs: known.CPUs,
		Memory:   memory(),
		Governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
		Sysctls:  sysctls("/proc/sys"),
	}
	fmt.Sscan(line("/proc/loadavg"), &m.Load[0], &m.Load[1], &m.Load[2])
	m.Versions = versions()
	return m
}

// memory is all there is, in bytes.
func memory() uint64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit)
}

// line is the first one of a file, "" without it.
func line(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(first)
}

// relevant are the sysctls that connections, scheduling and BPF programs
// depend on, as patterns below /proc/sys.
var relevant = []string{
	"net/core/somaxconn",
	"net/core/netdev_max_backlog",
	"net/core/netdev_budget*",
	"net/core/[rw]mem_*",
	"net/core/rps_sock_flow_entries",
	"net/core/busy_*",
	"net/core/default_qdisc",
	"net/core/bpf_jit_*",
	"net/ipv4/ip_local_port_range",
	"net/ipv4/tcp_max_syn_backlog",
	"net/ipv4/tcp_syncookies",
	"net/ipv4/tcp_migrate_req",
	"net/ipv4/tcp_tw_reuse",
	"net/ipv4/tcp_max_tw_buckets",
	"net/ipv4/tcp_fin_timeout",
	"net/ipv4/tcp_fastopen",
	"net/ipv4/tcp_abort_on_overflow",
	"net/ipv4/tcp_synack_retries",
	"net/ipv4/tcp_congestion_control",
	"net/ipv4/tcp_[rw]mem",
	"net/netfilter/nf_conntrack_max",
	"net/netfilter/nf_conntrack_count",
	"kernel/sched_*",
	"kernel/bpf_stats_enabled",
	"kernel/unprivileged_bpf_disabled",
	"kernel/perf_event_paranoid",
	"kernel/randomize_va_space",
	"kernel/numa_balancing",
	"kernel/nmi_watchdog",
	"fs/file-max",
	"fs/nr_open",
	"vm/swappiness",
}

// sysctls are those of the relevant ones that this kernel has, by name.
func sysctls(root string) map[string]string {
	found := map[string]string{}
	for _, pattern := range relevant {
		paths, _ := filepath.Glob(filepath.Join(root, pattern)) // the patterns are fine
		for _, path := range paths {
			value := strings.Join(strings.Fields(line(path)), " ")
			if name, err := filepath.Rel(root, path); err == nil && value != "" {
				found[strings.ReplaceAll(name, "/", ".")] = value
			}
		}
	}
	return found
}

// versions asks all programs at once: some take half a second to answer.
func versions() map[string]string {
	var mu sync.Mutex
	var asked sync.WaitGroup
	found := map[string]string{}
	for name, ask := range programs {
		asked.Go(func() {
			if version := ask(); version != "" {
				mu.Lock()
				defer mu.Unlock()
				found[name] = version
			}
		})
	}
	asked.Wait()
	return found
}

// system is the distribution, by its own name.
func system() string {
	text, _ := os.ReadFile("/etc/os-release")
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if name, found := strings.CutPrefix(lines.Text(), "PRETTY_NAME="); found {
			return strings.Trim(name, `"`)
		}
	}
	return ""
}
