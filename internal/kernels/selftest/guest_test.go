package selftest

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/kernels/guest"
)

func inGuest(t *testing.T) (kernel string) {
	t.Helper()
	kernel = os.Getenv(guest.Variable)
	if kernel == "" {
		t.Skip("not in a guest: run by internal/kernels/cmd/kernels")
	}
	return kernel
}

func TestRelease(t *testing.T) {
	kernel := inGuest(t)
	var name unix.Utsname
	check(t, unix.Uname(&name))
	release := unix.ByteSliceToString(name.Release[:])
	t.Log(release, unix.ByteSliceToString(name.Version[:]))
	if kernel != "newest" && !strings.HasPrefix(release, kernel+".") {
		t.Errorf("kernel %s runs as %s", kernel, release)
	}
}

func TestRootWithAllCapabilities(t *testing.T) {
	inGuest(t)
	if uid := os.Geteuid(); uid != 0 {
		t.Errorf("user %d", uid)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	check(t, unix.Capget(&header, &data[0]))
	if data[0].Effective != ^uint32(0) || data[1].Effective == 0 {
		t.Errorf("capabilities %#x %#x", data[0].Effective, data[1].Effective)
	}
}

func TestMounts(t *testing.T) {
	inGuest(t)
	for dir, magic := range map[string]int64{
		"/proc":               unix.PROC_SUPER_MAGIC,
		"/sys":                unix.SYSFS_MAGIC,
		"/sys/fs/cgroup":      unix.CGROUP2_SUPER_MAGIC,
		"/sys/kernel/tracing": unix.TRACEFS_MAGIC,
		"/tmp":                unix.TMPFS_MAGIC,
		"/run":                unix.TMPFS_MAGIC,
	} {
		if got := fileSystem(t, dir); got != magic {
			t.Errorf("%s is a file system of type %#x, want %#x", dir, got, magic)
		}
	}
}

// Bpffs is there, or can be mounted, where the guest was told not to.
func TestBpffs(t *testing.T) {
	inGuest(t)
	const dir = "/sys/fs/bpf"
	if fileSystem(t, dir) == unix.BPF_FS_MAGIC {
		t.Log("mounted by init")
	} else {
		t.Log("not mounted by init")
		check(t, unix.Mount("bpf", dir, "bpf", 0, "mode=700"))
		t.Cleanup(func() { check(t, unix.Unmount(dir, 0)) })
	}
	check(t, os.Mkdir(dir+"/selftest", 0o700))
	check(t, os.Remove(dir+"/selftest"))
}

func TestCgroup(t *testing.T) {
	inGuest(t)
	const dir = "/sys/fs/cgroup/selftest"
	check(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { check(t, os.Remove(dir)) })
	controllers, err := os.ReadFile(dir + "/cgroup.controllers")
	check(t, err)
	for _, want := range []string{"cpu", "memory", "pids"} {
		if !strings.Contains(string(controllers), want) {
			t.Errorf("controllers %q without %s", controllers, want)
		}
	}
}

func TestKernelTypes(t *testing.T) {
	inGuest(t)
	types, err := os.Open("/sys/kernel/btf/vmlinux")
	check(t, err)
	defer types.Close()
	head := make([]byte, 2)
	_, err = types.Read(head)
	check(t, err)
	if head[0] != 0x9f || head[1] != 0xeb {
		t.Errorf("BTF begins with %x", head)
	}
}

func TestLimits(t *testing.T) {
	inGuest(t)
	var files unix.Rlimit
	check(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &files))
	if files.Cur < 1<<20 {
		t.Errorf("%d open files at most", files.Cur)
	}
}

func TestTestdata(t *testing.T) {
	inGuest(t)
	for _, name := range []string{"testdata/folder/file", "testdata/link"} {
		content, err := os.ReadFile(name)
		check(t, err)
		if string(content) != "travels\n" {
			t.Errorf("%s has %q", name, content)
		}
	}
}

func TestNothingElseIsRoot(t *testing.T) {
	inGuest(t)
	if _, err := os.Stat("/bin/sh"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a shell: %v", err)
	}
}

func fileSystem(t *testing.T, dir string) int64 {
	t.Helper()
	var s unix.Statfs_t
	check(t, unix.Statfs(dir, &s))
	return s.Type
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
