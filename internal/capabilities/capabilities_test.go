package capabilities

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSet(t *testing.T) {
	s := Of(BPF, Chown, PerfMon)
	for text, ok := range map[string]bool{
		"CAP_CHOWN, CAP_PERFMON, CAP_BPF": s.String() == "CAP_CHOWN, CAP_PERFMON, CAP_BPF",
		"none":                            Set(0).String() == "none",
		"unknown":                         Of(63).String() == "capability 63",
		"has":                             s.Has(BPF) && !s.Has(SysAdmin),
		"wider":                           Of(SysAdmin).Allows(BPF) && Of(DACOverride).Allows(DACReadSearch) && !Of(BPF).Allows(SysAdmin),
		"missing":                         Of(SysAdmin).Missing(Of(BPF, Kill)) == Of(Kill),
		"covering":                        Of(SysAdmin, Kill).covering(Of(BPF, PerfMon)) == Of(SysAdmin),
		"covering, itself":                Of(SysAdmin, BPF).covering(Of(BPF)) == Of(BPF),
		"list":                            len(s.List()) == 3 && s.List()[2] == BPF,
	} {
		if !ok {
			t.Errorf("wrong: %s", text)
		}
	}
}

func TestEveryWorkHasNeeds(t *testing.T) {
	for w := range works {
		if len(w.Needs()) == 0 {
			t.Errorf("work %d takes nothing", w)
		}
		for _, n := range w.Needs() {
			if n.Why == "" || names[n.Capability] == "" {
				t.Errorf("work %d: %v has no name or no reason", w, n)
			}
		}
	}
}

func TestReadAgrees(t *testing.T) {
	own, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	effective, err := Effective()
	if err != nil || effective != own.Effective {
		t.Errorf("capget says %x, /proc %x; %v", effective, own.Effective, err)
	}
	if own.Effective&^own.Permitted != 0 {
		t.Errorf("effective %x beyond what is permitted, %x", own.Effective, own.Permitted)
	}
}

func TestParseStatus(t *testing.T) {
	for _, text := range []string{"", "CapEff:\t0\n", "CapInh:\tx\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\nCapAmb:\t0\n"} {
		if own, err := parseStatus(text); err == nil {
			t.Errorf("%q is %+v", text, own)
		}
	}
	own, err := parseStatus("Name:\tx\nCapInh:\t1\nCapPrm:\t3\nCapEff:\t7\nCapBnd:\tf\nCapAmb:\t1f\nNoNewPrivs:\t1\n")
	if want := (Own{Inheritable: 1, Permitted: 3, Effective: 7, Bounding: 15, Ambient: 31, NoNewPrivileges: true}); err != nil || own != want {
		t.Errorf("%+v, %v", own, err)
	}
}

func TestNeedsOfADuty(t *testing.T) {
	full := Own{Permitted: 1<<41 - 1, Effective: 1<<41 - 1, Bounding: 1<<41 - 1}
	ambient := full
	ambient.Ambient = Of(BPF, PerfMon, NetAdmin, NetBindService, unix.CAP_SYS_NICE)
	steer := Of(BPF, PerfMon)
	look := Of(SysPtrace, DACReadSearch)
	users := Of(SetUID, SetGID, Chown, Kill)
	for _, c := range []struct {
		name string
		duty Duty
		own  Own
		uid  int
		want Set
	}{
		{"nothing", Duty{}, full, 0, 0},
		{"groups", Duty{Groups: true}, full, 0, steer | look | Of(NetAdmin, Chown)},
		{"groups on low ports", Duty{Groups: true, LowPorts: true}, full, 0, steer | look | Of(NetAdmin, Chown, NetBindService)},
		{"attached", Duty{Attached: true}, full, 0, steer | look},
		{"attached elsewhere", Duty{Attached: true, Namespaces: true}, full, 0, steer | look | Of(SysAdmin)},
		{"apps with users", Duty{Users: true}, full, 0, steer | look | users | Of(NetAdmin)},
		{"apps of root", Duty{Same: true}, full, 0, full.Permitted},
		{"apps of root and others", Duty{Same: true, Users: true, Groups: true}, full, 0, full.Permitted},
		{"apps of our own user", Duty{Same: true}, full, 1000, steer | Of(NetAdmin, SysPtrace)},
		{"… who inherit", Duty{Same: true}, ambient, 1000, steer | Of(NetAdmin, SysPtrace, NetBindService, unix.CAP_SYS_NICE)},
		{"… in closed folders", Duty{Same: true, Closed: true}, full, 1000, steer | Of(NetAdmin, SysPtrace, DACOverride)},
		{"apps with users inherit nothing", Duty{Users: true}, ambient, 1000, steer | look | users | Of(NetAdmin)},
		{"all", Duty{Groups: true, Attached: true, Users: true, LowPorts: true, Namespaces: true, Closed: true}, full, 0,
			steer | look | users | Of(NetAdmin, SysAdmin, NetBindService, DACOverride)},
	} {
		if got := c.duty.Needs(c.own, c.uid); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestCheckOfADuty(t *testing.T) {
	own, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	err = Duty{Users: true, Closed: true, Namespaces: true}.Check()
	if lacking := own.Effective.Missing(All() &^ Of(NetBindService)); (err != nil) != (lacking != 0) {
		t.Errorf("%v, though %v is missing, as user %d", err, lacking, os.Geteuid())
	}
}
