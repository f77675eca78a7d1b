package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/sockdist/sockdist/internal/kernels"
)

type options struct {
	kernels  []kernels.Kernel
	packages []string
	testArgs []string
	run      string
	verbose  bool
	race     bool
	tags     string

	cache  string
	mirror string
	update bool
	list   bool

	jobs      int
	timeout   time.Duration
	memory    int
	bpffs     bool
	kernelLog bool
}

// parse reads the command line; what is wrong with it has been written to
// messages when it returns an error.
func parse(args []string, messages io.Writer) (options, error) {
	var o options
	var names string
	flags := flag.NewFlagSet("kernels", flag.ContinueOnError)
	flags.SetOutput(messages)
	flags.Usage = func() {
		fmt.Fprintln(messages, "usage: kernels [flags] PACKAGES... [-- TEST-FLAGS...]")
		flags.PrintDefaults()
	}
	flags.StringVar(&names, "kernels", "", "kernels, with commas between; empty: all ("+strings.Join(kernels.Names(kernels.All()), ",")+")")
	flags.StringVar(&o.run, "run", "", "run only tests that match this `regex`")
	flags.BoolVar(&o.verbose, "v", false, "print all tests as they run")
	flags.BoolVar(&o.race, "race", false, "build tests with the race detector; guests get at least 2048 MiB")
	flags.StringVar(&o.tags, "tags", "", "build tags")
	flags.StringVar(&o.cache, "cache", "", "`folder` for kernels (default $XDG_CACHE_HOME/sockdist/kernels, else .cache/kernels in the repository)")
	flags.StringVar(&o.mirror, "mirror", os.Getenv("DEBIAN_MIRROR"), "`address` that holds debian/ and debian-security/; empty: from this machine's apt sources (or $DEBIAN_MIRROR)")
	flags.BoolVar(&o.update, "update", false, "ask the archive for new versions now, not once a day")
	flags.BoolVar(&o.list, "list", false, "show which version each kernel resolves to, and end")
	flags.IntVar(&o.jobs, "jobs", min(2, runtime.NumCPU()), "kernels at once")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "for one boot with its tests")
	flags.IntVar(&o.memory, "memory", 1024, "`MiB` for a guest")
	flags.BoolVar(&o.bpffs, "bpffs", true, "mount bpffs in the guest before the tests")
	flags.BoolVar(&o.kernelLog, "kernel-log", false, "show the guest kernel's own messages")
	args, o.testArgs = split(args)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.packages = flags.Args()
	err := o.complete(names)
	if err != nil {
		fmt.Fprintln(messages, "kernels:", err)
	}
	return o, err
}

func (o *options) complete(names string) (err error) {
	if o.kernels, err = kernels.Select(names); err != nil {
		return err
	}
	if len(o.packages) == 0 && !o.list {
		return fmt.Errorf("no packages: name some, such as ./loader")
	}
	if o.timeout < time.Second {
		return fmt.Errorf("-timeout %v: a kernel takes seconds to boot; give it more", o.timeout)
	}
	if o.race {
		o.memory = max(o.memory, 2048)
	}
	if o.cache == "" {
		o.cache = defaultCache()
	}
	o.cache, err = filepath.Abs(o.cache)
	return err
}

// split parts what is this command's from what is for the test binaries. The
// flag package would take a leading "--" for itself.
func split(args []string) (own, testArgs []string) {
	for i, arg := range args {
		if arg == "--" {
			return args[:i], args[i+1:]
		}
	}
	return args, nil
}

// guestArgs are the test binary's arguments. The tests' own timeout ends before
// the boot's, which also covers booting, since it says where they hang.
func (o *options) guestArgs() []string {
	args := []string{"-test.timeout=" + (o.timeout - min(20*time.Second, o.timeout/2)).String()}
	if o.run != "" {
		args = append(args, "-test.run="+o.run)
	}
	if o.verbose {
		args = append(args, "-test.v")
	}
	return append(args, o.testArgs...)
}

func defaultCache() string {
	if base := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "sockdist", "kernels")
	}
	return filepath.Join(repository(), ".cache", "kernels")
}

// repository is the folder above this one that has a go.mod; this one if none has.
func repository() string {
	here, err := os.Getwd()
	if err != nil {
		return "."
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return here
		}
	}
}
