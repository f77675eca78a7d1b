// Package guest is what the two sides of a test boot agree on: the command that
// starts a kernel under QEMU, and the init process inside it.
//
// The host hands the work over as one word on the kernel's command line (Job);
// the guest answers with one byte on an I/O port (Report), which QEMU turns into
// its exit status (Outcome).
package guest

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// Folders of the initial file system.
const (
	ModulesDir = "/modules" // kernel modules, loaded in the order of their names
	TestsDir   = "/t"       // the test binaries, each in the folder of its package
)

// Variable is set in the environment of tests that run in a guest; its value is
// the name of the kernel, as in the -kernels flag.
const Variable = "SOCKDIST_GUEST_KERNEL"

// maxWord keeps the whole kernel command line under the 2,048 bytes that x86 takes.
const maxWord = 1700

// ErrJob is wrapped by the errors for jobs that can't be handed over or read.
var ErrJob = errors.New("not a usable guest job")

// Job is what the guest runs.
type Job struct {
	Kernel string   // the kernel's name, for Variable
	Binary string   // absolute path; its folder becomes the working directory
	Args   []string // without the program's name
	Bpffs  bool     // whether init mounts /sys/fs/bpf
}

// Word encodes the job as one word without blanks and quotes, since the kernel
// splits its command line at blanks and gives init at most 32 words.
func (j Job) Word() (string, error) {
	v := url.Values{"kernel": {j.Kernel}, "binary": {j.Binary}, "arg": j.Args}
	if j.Bpffs {
		v.Set("bpffs", "mount")
	}
	word := v.Encode()
	if !path.IsAbs(j.Binary) {
		return "", fmt.Errorf("binary %q: %w: name it by its absolute path", j.Binary, ErrJob)
	}
	if len(word) > maxWord {
		return "", fmt.Errorf("test arguments take %d bytes of at most %d on the kernel's command line: %w: shorten them", len(word), maxWord, ErrJob)
	}
	return word, nil
}

// ParseJob finds the job among the arguments of init. Others may be there: words
// of its command line that a kernel doesn't know end up as arguments of init.
func ParseJob(args []string) (Job, error) {
	for _, word := range args {
		v, err := url.ParseQuery(word)
		if err == nil && path.IsAbs(v.Get("binary")) {
			return Job{v.Get("kernel"), v.Get("binary"), v["arg"], v.Has("bpffs")}, nil
		}
	}
	return Job{}, fmt.Errorf("init got %q: %w: no word names a binary", strings.Join(args, " "), ErrJob)
}
