package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/sockdist/sockdist/internal/capabilities"
	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/loader"
	"golang.org/x/sys/unix"
)

func TestDoctorAsRoot(t *testing.T) {
	privilege.Require(t)
	a := sockdist(t, "", "doctor")
	if a.code != exitDone || a.err != "" || strings.Contains("\n"+a.out, "\nfail") {
		t.Errorf("%+v", a)
	}
	for _, name := range []string{
		"kernel", "kernel types", "instructions", "program types", "map types", "helpers", "own programs", "attachments", "trial",
		"bpffs", "cgroup v2", "pidfd_getfd", "capabilities", "lockdown", "kernel.yama.ptrace_scope", "seccomp", "container",
		"net.core.somaxconn", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_migrate_req",
		"kernel.unprivileged_bpf_disabled", "net.core.bpf_jit_enable", "kernel.bpf_stats_enabled",
	} {
		if !strings.Contains(a.out, "  "+name+"  ") {
			t.Errorf("nothing on %s in\n%s", name, a.out)
		}
	}
	if !strings.Contains(a.out, "\n\nsockdist works here") {
		t.Errorf("no summary in\n%s", a.out)
	}
	if detailed := sockdist(t, "", "doctor", "--verbose"); strings.Count(detailed.out, "\n") <= strings.Count(a.out, "\n") {
		t.Errorf("--verbose says no more:\n%s", detailed.out)
	}
}

func TestDoctorJSON(t *testing.T) {
	privilege.Require(t)
	a := sockdist(t, "", "doctor", "--json")
	var d diagnosis
	if err := json.Unmarshal([]byte(a.out), &d); err != nil || a.code != exitDone {
		t.Fatalf("%v: %+v", err, a)
	}
	if !d.Works || d.Version == "" || d.Kernel != kernelRelease() || len(d.Checks) < 50 {
		t.Errorf("%+v", d)
	}
	for _, c := range d.Checks {
		if c.Name == "" || c.Found == "" || !slices.Contains([]level{levelOK, levelWarn, levelFail}, c.Level) || c.Level == levelWarn && c.Advice == "" {
			t.Errorf("%+v", c)
		}
	}
}

func TestDoctorAsNobody(t *testing.T) {
	a := asNobody(t, "", "doctor")
	if a.code != exitUnsupported || strings.Count(a.err, "\n") != 1 || !strings.Contains(a.err, "run as root") {
		t.Errorf("exit code %d, said %q", a.code, a.err)
	}
	for _, c := range wantedCapabilities() {
		if !strings.Contains(a.out, c.String()+" is missing") {
			t.Errorf("nothing on %s in\n%s", c, a.out)
		}
	}
	if strings.Contains(a.out, "requires >= v") || strings.Contains(a.out, "use Linux") || strings.Contains(a.out, "MEMLOCK") {
		t.Errorf("blames the kernel:\n%s", a.out)
	}
	var d diagnosis
	if err := json.Unmarshal([]byte(asNobody(t, "", "doctor", "--json").out), &d); err != nil || d.Works {
		t.Errorf("%v: %+v", err, d)
	}
}

func TestDoctorLeavesNothing(t *testing.T) {
	privilege.Require(t)
	mount, err := cgroup.Find()
	if err != nil {
		t.Skip(err)
	}
	if a := sockdist(t, "", "doctor"); a.code != exitDone {
		t.Fatalf("%+v", a)
	}
	if _, err := os.Stat(filepath.Join(mount.Dir, "sockdist", cgroupOfDoctor)); err == nil && !doctorAtWork(t, mount) {
		t.Error("its cgroup is still there")
	}
	bpffs, err := loader.BPFFS()
	if err != nil {
		t.Fatal(err)
	}
	if bpffs == "" {
		return
	}
	if left, err := filepath.Glob(filepath.Join(bpffs, "*", "*", "groups", "trial")); err != nil || len(left) > 0 {
		t.Errorf("pins left: %v, %v", left, err)
	}
}

// doctorAtWork tells whether it is the cgroup of another doctor, which then holds it.
func doctorAtWork(t *testing.T, mount *cgroup.Mount) bool {
	t.Helper()
	tree, err := mount.Create(cgroupOfDoctor)
	if errors.Is(err, cgroup.ErrInUse) {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := tree.Remove(); err != nil {
		t.Error(err)
	}
	return false
}

// All that run asks for must be something that doctor looks at.
func TestDoctorKnowsWhatRunNeeds(t *testing.T) {
	for _, needed := range needs("run", withUser, closed, unmounted) {
		if !slices.ContainsFunc(wantedCapabilities(), func(c wantedCapability) bool { return c.Capability == needed && c.why != "" }) {
			t.Errorf("doctor doesn't look at %s", needed)
		}
	}
}

func TestOlderThan(t *testing.T) {
	for _, c := range []struct {
		release, floor string
		want           bool
	}{
		{"6.1.0-35-amd64", "6.1", false}, {"6.0.19", "6.1", true}, {"5.14.0-427.el9.x86_64", "6.1", true}, {"6.18.44-fc", "6.1", false},
		{"7.0-rc1", "6.1", false}, {"6.1-rc3", "6.1", false}, {"10.2", "6.18", false}, {"unknown", "6.1", false},
	} {
		if got := olderThan(c.release, c.floor); got != c.want {
			t.Errorf("%s older than %s: %v", c.release, c.floor, got)
		}
	}
}

func TestCheckFeature(t *testing.T) {
	missing := &loader.UnsupportedError{Feature: "x", MinKernel: "5.17", Err: ebpf.ErrNotSupported}
	root, nobody := rights{capabilities: ^capabilities.Set(0)}, rights{uid: 1000}
	for _, c := range []struct {
		name    string
		feature loader.Feature
		release string
		rights  rights
		level   level
		found   string
		advice  string
	}{
		{"there", loader.Feature{Name: "x"}, "6.1", root, levelOK, "x", ""},
		{"old kernel", loader.Feature{Name: "x", MinKernel: "5.17", Err: missing}, "5.10", root, levelFail, "x is missing", "use Linux 6.1 or newer (x has it from 5.17 on)"},
		{"odd kernel", loader.Feature{Name: "x", MinKernel: "5.17", Err: missing}, "6.12", root, levelFail, "x is missing", "built without"},
		{"verifier", loader.Feature{Kind: loader.FeatureObject, Name: "steer", MinKernel: "6.1", Err: missing}, "6.12", root, levelFail, "steer is refused", "report it"},
		{"nobody", loader.Feature{Name: "x", Err: unix.EPERM}, "6.1", nobody, levelFail, "can't tell", "as root"},
		{"seccomp", loader.Feature{Name: "x", Err: unix.EPERM}, "6.1", rights{capabilities: ^capabilities.Set(0), seccomp: true}, levelFail, "can't tell", "seccomp"},
		{"user namespace", loader.Feature{Name: "x", Err: unix.EPERM}, "6.1", rights{capabilities: ^capabilities.Set(0), userNS: true}, levelFail, "can't tell", "user namespace"},
		{"security module", loader.Feature{Name: "x", Err: unix.EPERM}, "6.1", root, levelFail, "can't tell", "SELinux"},
		{"trial", loader.Feature{Kind: loader.FeatureTrial, Name: "x", Err: unix.EPERM}, "6.1", root, levelWarn, "can't tell", "SELinux"},
		{"odd", loader.Feature{Name: "x", Err: unix.ENOMEM}, "6.1", root, levelFail, "x: cannot allocate memory", ""},
	} {
		got := checkFeature(c.feature, c.release, c.rights)
		if got.Level != c.level || !strings.HasPrefix(got.Found, c.found) || !strings.Contains(got.Advice, c.advice) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestCheckKind(t *testing.T) {
	there := loader.Feature{Kind: loader.FeatureHelper, Name: "a"}
	missing := loader.Feature{Kind: loader.FeatureHelper, Name: "b", Err: &loader.UnsupportedError{Feature: "b"}}
	denied := loader.Feature{Kind: loader.FeatureHelper, Name: "c", Err: unix.EPERM}
	for _, c := range []struct {
		features        []loader.Feature
		brief, detailed int
	}{
		{[]loader.Feature{there, there}, 1, 2},
		{[]loader.Feature{there, missing}, 1, 2},
		{[]loader.Feature{denied, denied, missing}, 2, 3},
	} {
		for detailed, want := range map[bool]int{false: c.brief, true: c.detailed} {
			if got := checkKind(c.features, "6.1", rights{}, detailed); len(got) != want {
				t.Errorf("%+v, detailed %v: %d lines, want %d: %+v", c.features, detailed, len(got), want, got)
			}
		}
	}
}

func TestCheckRights(t *testing.T) {
	if got := checkRights(rights{capabilities: ^capabilities.Set(0)}); len(got) != 1 || got[0].Level != levelOK {
		t.Errorf("all: %+v", got)
	}
	got := checkRights(rights{capabilities: ^capabilities.Of(capabilities.SysPtrace, capabilities.SetUID)})
	if len(got) != 3 || got[0].Level != levelOK || got[1].Level != levelFail || got[2].Level != levelWarn ||
		!strings.HasPrefix(got[1].Found, "CAP_SYS_PTRACE is missing") || !strings.Contains(got[2].Advice, "--cap-add") {
		t.Errorf("two missing: %+v", got)
	}
	if got := checkRights(rights{capabilities: ^capabilities.Set(0), userNS: true}); len(got) != 2 || got[1].Level != levelFail {
		t.Errorf("in a user namespace: %+v", got)
	}
	if got := checkRights(rights{err: unix.EIO}); len(got) != 1 || got[0].Level != levelFail {
		t.Errorf("unknown: %+v", got)
	}
}

func TestJudgeLockdown(t *testing.T) {
	for text, want := range map[string]level{
		"[none] integrity confidentiality\n": levelOK, "none [integrity] confidentiality\n": levelOK, "none integrity [confidentiality]\n": levelFail,
	} {
		if got := judgeLockdown(text, nil); got.Level != want || got.Found == "" {
			t.Errorf("%q: %+v", text, got)
		}
	}
	if got := judgeLockdown("", fs.ErrNotExist); got.Level != levelOK {
		t.Errorf("%+v", got)
	}
	if got := judgeLockdown("", fs.ErrPermission); got.Level != levelWarn {
		t.Errorf("%+v", got)
	}
}

func TestJudgePtrace(t *testing.T) {
	for _, c := range []struct {
		value   string
		capable bool
		want    level
	}{{"", false, levelOK}, {"0", false, levelOK}, {"1", true, levelOK}, {"2", true, levelOK}, {"2", false, levelFail}, {"3", true, levelFail}} {
		if got := judgePtrace(setting{"kernel.yama.ptrace_scope", c.value}, c.capable); got.Level != c.want || got.Found == "" {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestJudgeSettings(t *testing.T) {
	rules := make(map[string]settingRule)
	for _, r := range settingRules {
		rules[r.name] = r
	}
	for _, c := range []struct {
		name, value string
		want        level
	}{
		{"net.core.somaxconn", "128", levelWarn}, {"net.core.somaxconn", "4096", levelOK}, {"net.core.somaxconn", "", levelOK},
		{"net.ipv4.tcp_syncookies", "0", levelWarn}, {"net.ipv4.tcp_syncookies", "1", levelOK}, {"net.ipv4.tcp_syncookies", "2", levelWarn},
		{"net.ipv4.tcp_migrate_req", "0", levelOK}, {"net.ipv4.tcp_migrate_req", "1", levelOK},
		{"net.core.bpf_jit_enable", "0", levelWarn}, {"net.core.bpf_jit_enable", "1", levelOK}, {"net.core.bpf_jit_enable", "2", levelOK},
		{"kernel.bpf_stats_enabled", "1", levelWarn}, {"kernel.bpf_stats_enabled", "0", levelOK},
		{"kernel.unprivileged_bpf_disabled", "0", levelOK},
	} {
		got := rules[c.name].judge(setting{c.name, c.value})
		if got.Level != c.want || got.Found == "" || (got.Level == levelWarn) != (got.Advice != "") {
			t.Errorf("%s=%s: %+v", c.name, c.value, got)
		}
	}
}

func TestVerdict(t *testing.T) {
	d := &diagnosis{Checks: []check{{Name: "a", Level: levelFail}, {Name: "b", Level: levelWarn}, {Name: "a", Level: levelFail}}, rights: rights{capabilities: ^capabilities.Set(0)}}
	if err := d.verdict(); exitCode(err) != exitUnsupported || !strings.HasSuffix(err.Error(), "on a") {
		t.Error(err)
	}
	d.rights = rights{uid: 1000}
	if err := d.verdict(); exitCode(err) != exitUnsupported || !strings.Contains(err.Error(), "uid 1000: run as root") {
		t.Error(err)
	}
	d.Works = true
	if err := d.verdict(); err != nil {
		t.Error(err)
	}
}
