package loader

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/privilege"
	"golang.org/x/sys/unix"
)

// All features must be there on any kernel that the tests are for, and each must say since when it is.
func TestFeatures(t *testing.T) {
	privilege.Require(t)
	kinds := make(map[FeatureKind]int)
	for _, f := range Features() {
		if f.Err != nil {
			t.Errorf("%s %s: %v", f.Kind, f.Name, f.Err)
		}
		if f.Name == "" || f.MinKernel == "" {
			t.Errorf("%+v is incomplete", f)
		}
		kinds[f.Kind]++
	}
	for _, kind := range []FeatureKind{FeatureTypes, FeatureInstruction, FeatureProgram, FeatureMap, FeatureHelper,
		FeatureObject, FeatureAttachment, FeatureTrial} {
		if kinds[kind] == 0 {
			t.Errorf("no feature of kind %s", kind)
		}
	}
}

// What a kernel lacks must be told from what it has, and from what this user may not.
func TestFeatureVerdicts(t *testing.T) {
	privilege.Require(t)
	spec, err := objectSpec()
	if err != nil {
		t.Fatal(err)
	}
	bind, account := spec.Programs[objectProgBind4], spec.Programs[objectProgAccount].Copy()
	account.AttachTo = "no_such_tracepoint"
	for _, c := range []struct {
		name            string
		err             error
		missing, denied bool
	}{
		{"helper that is there", tryHelper(bind, asm.FnMapLookupElem), false, false},
		{"helper of other programs", tryHelper(bind, asm.FnSkSelectReuseport), true, false},
		{"helper of no kernel", tryHelper(bind, asm.FnMapLookupElem+9999), true, false},
		{"tracepoint of no kernel", tryProgram(account), true, false},
		{"not allowed", fmt.Errorf("load: %w", unix.EPERM), false, true},
		{"not allowed, explained", explainLoad(unix.EPERM), false, true},
		{"map type of no kernel", ebpf.ErrNotSupported, true, false},
		{"no memory", unix.ENOMEM, false, false},
	} {
		f := feature(FeatureHelper, c.name, "6.1", c.err)
		if f.Missing() != c.missing || f.Denied() != c.denied {
			t.Errorf("%s: missing %v, denied %v: %v", c.name, f.Missing(), f.Denied(), f.Err)
		}
		var unsupported *UnsupportedError
		if c.missing && (!errors.As(f.Err, &unsupported) || unsupported.MinKernel != "6.1") {
			t.Errorf("%s: %v doesn't name the kernel", c.name, f.Err)
		}
	}
}

// The trial must not show outside of its thread.
func TestTrialLeavesNothing(t *testing.T) {
	privilege.Require(t)
	if _, err := mountedFolder(); err != nil {
		t.Fatal(err)
	}
	before := deviceOf(t, trialFolder())
	if f := trial(); f.Err != nil {
		t.Fatal(f.Err)
	}
	if after := deviceOf(t, trialFolder()); before != after {
		t.Errorf("%s was on device %x and is on %x", trialFolder(), before, after)
	}
	if _, err := os.Stat(filepath.Join(trialFolder(), "sockdist", layout, "groups", "trial")); err == nil {
		t.Error("the group is still there")
	}
}

func deviceOf(t *testing.T, path string) uint64 {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return uint64(stat.Dev)
}

func TestTryBindHooks(t *testing.T) {
	privilege.Require(t)
	mount, err := cgroup.Find()
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp(mount.Dir, "sockdist-test-hooks-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	if err := TryBindHooks(dir); err != nil {
		t.Error(err)
	}
	if err := TryBindHooks(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("hooks on a cgroup that isn't there")
	}
	if err := TryBindHooks(t.TempDir()); err == nil {
		t.Error("hooks on a folder that is no cgroup")
	}
}
