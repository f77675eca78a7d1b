package main

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/kernels/guest"
)

// runTests runs the test binary to its end and gives its exit code. As process 1
// it also reaps what the tests leave behind.
func runTests(job guest.Job) (int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer null.Close()
	tests, err := os.StartProcess(job.Binary, append([]string{job.Binary}, job.Args...), &os.ProcAttr{
		Dir:   path.Dir(job.Binary),
		Env:   environment(job),
		Files: []*os.File{null, os.Stdout, os.Stderr},
	})
	if err != nil {
		return 0, fmt.Errorf("start the tests: %w", err)
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR) || err == nil && pid != tests.Pid:
		case err != nil:
			return 0, fmt.Errorf("wait for the tests: %w", err)
		case status.Signaled():
			fmt.Println("init: the tests were ended by signal", status.Signal())
			return 128 + int(status.Signal()), nil
		default:
			return status.ExitStatus(), nil
		}
	}
}

func environment(job guest.Job) []string {
	return []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "USER=root", "TMPDIR=/tmp", "LANG=C.UTF-8", "TERM=dumb",
		guest.Variable + "=" + job.Kernel,
	}
}
