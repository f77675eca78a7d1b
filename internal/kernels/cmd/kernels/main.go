// Command kernels runs the tests of Go packages under other kernels than this
// machine's, by emulation: see package kernels.
//
//	go run ./internal/kernels/cmd/kernels ./loader
//	go run ./internal/kernels/cmd/kernels -kernels 6.1 -run TestPick -v ./loader
//	go run ./internal/kernels/cmd/kernels -race ./loader/... -- -test.short
//	go run ./internal/kernels/cmd/kernels -list
//
// What comes after "--" goes to the test binaries. Exit codes: 0 all passed,
// 1 something failed, 2 wrong usage, 3 this machine lacks what it takes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sockdist/sockdist/internal/kernels"
	"github.com/sockdist/sockdist/internal/kernels/debian"
)

const (
	exitOK = iota
	exitFailed
	exitUsage
	exitHost
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := withGoRun(ctx)
	defer cancel()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	o, err := parse(args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	action := test
	if o.list {
		action = list
	}
	failed, err := action(ctx, o)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "kernels: interrupted")
		return exitFailed
	case errors.Is(err, kernels.ErrHost) || errors.Is(err, debian.ErrNoMirror):
		fmt.Fprintln(os.Stderr, "kernels:", err)
		return exitHost
	case err != nil:
		fmt.Fprintln(os.Stderr, "kernels:", err)
		return exitFailed
	case failed > 0:
		return exitFailed
	}
	return exitOK
}
