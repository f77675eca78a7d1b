// Command init is the first process of a guest that runs tests under another
// kernel. It prepares what a test may expect of a Linux machine, runs one test
// binary as root, and tells QEMU the exit code: see package guest.
//
// Whatever goes wrong before the tests is reported as guest.InitFailed, with one
// line on the console.
package main

import (
	"fmt"
	"os"

	"github.com/sockdist/sockdist/internal/kernels/guest"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Println("init:", err)
		code = guest.InitFailed
	}
	report(code)
}

func run(args []string) (int, error) {
	job, err := guest.ParseJob(args)
	if err != nil {
		return 0, err
	}
	if err := prepare(job); err != nil {
		return 0, err
	}
	code, err := runTests(job)
	tellWarnings()
	return code, err
}

func prepare(job guest.Job) error {
	for _, step := range []func() error{
		makeFiles,
		func() error { return mountAll(job.Bpffs) },
		linkDescriptors,
		loadModules,
		delegateControllers,
		setSysctls,
		raiseLimits,
		loopbackUp,
		startLog,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
