// Command bench compares sockdist with what people use today, on this machine,
// and with the real peers: Node's cluster and PM2, masters that pass
// descriptors, HAProxy and nginx in front, prefork, plain SO_REUSEPORT, and one
// listener shared by all.
//
//	go run ./bench -quick                     five minutes, all workloads
//	go run ./bench -only rate,queue/8 -repeat 7
//	go run ./bench list                       what there is to compare, and by what
//	go run ./bench sim -h                     the same choosing code over machines we don't have
//	go run ./bench agree FILE                 does that simulation agree with what was measured?
//	go run ./bench report FILE... -o page.html
//	go run ./bench compare old.json new.json  regressions; exit 1 if there is one
//
// It needs root, Go to build what it runs, and the peers, which make deps
// installs; one that isn't there is named and left out. All that it starts ends
// with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/compare"
	"github.com/sockdist/sockdist/bench/report"
	"github.com/sockdist/sockdist/bench/sim"
)

// Exit codes, as those of sockdist.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitMissing = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command does what the arguments say, and returns the exit code.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "sim":
		return sim.Main(ctx, args[1:], stdout, stderr)
	case "agree":
		return agree(ctx, args[1:], stdout, stderr)
	case "report":
		return report.Main(args[1:], stdout, stderr)
	case "compare":
		return compare.Main(args[1:], stdout, stderr)
	case "list":
		return list(args[1:], stdout, stderr)
	}
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return fail(stderr, err, exitUsage)
	}
	if os.Geteuid() != 0 {
		return fail(stderr, errors.New("it makes cgroups and loads BPF programs: run it as root, or with sudo by make bench"), exitMissing)
	}
	if err := compareAll(ctx, o, stdout, os.Stderr); err != nil {
		return fail(stderr, err, exitFailed)
	}
	return 0
}

func fail(stderr io.Writer, err error, code int) int {
	fmt.Fprintln(stderr, "bench:", err)
	return code
}
