package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// tracepoint attaches the accounting. No socket belongs to it, so it counts nothing.
func tracepoint() Feature {
	return feature(FeatureAttachment, "tp_btf/inet_sock_set_state", programKernels["tp_btf/inet_sock_set_state"], func() error {
		var objects hostObjects
		if err := load(&objects, nil); err != nil {
			return err
		}
		defer closeAll(objects.Origins, objects.Moved, objects.Groups, objects.Apps, objects.Account)
		account, err := link.AttachTracing(link.TracingOptions{Program: objects.Account})
		if err != nil {
			return err
		}
		return account.Close()
	}())
}

// iterator walks the listeners of this network namespace.
func iterator() Feature {
	_, err := Steerers()
	return feature(FeatureAttachment, "iter/tcp", programKernels["iter/tcp"], err)
}

// TryBindHooks attaches the hooks of an app to a cgroup v2 folder, and detaches
// them again. The folder should have no process in it. Errors wrap
// ErrNotSupported, or unix.EPERM where this user may not.
func TryBindHooks(cgroup string) (err error) {
	defer wrap(&err, "attach bind hooks to %s", cgroup)
	var objects appObjects
	if err := load(&objects, nil); err != nil {
		return err
	}
	defer objects.close()
	for attach, program := range map[ebpf.AttachType]*ebpf.Program{
		ebpf.AttachCGroupInet4Bind:    objects.Bind4,
		ebpf.AttachCGroupInet6Bind:    objects.Bind6,
		ebpf.AttachCGroupInet4Connect: objects.Connect4,
		ebpf.AttachCGroupInet6Connect: objects.Connect6,
	} {
		hook, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: attach, Program: program})
		if err != nil {
			return &UnsupportedError{Feature: fmt.Sprintf("the cgroup hook %s", attach), MinKernel: "5.7", Err: err}
		}
		hook.Close()
	}
	return nil
}

// BPFFS is where bpffs is mounted: the usual place if it is there, else any
// other; "" if nowhere. Open mounts it then.
func BPFFS() (dir string, err error) { return bpffsMount() }
