// Command chaos breaks several apps of sockdist at once, under load and in every
// way that an operator or a bad day knows, and has a ledger say what was lost.
//
// Each app has two lanes of events that run at the same time: in one, workers
// are killed, stopped and kept busy; in the other they are reloaded, scaled,
// drained and weighted, the supervisor is killed, started again and replaced,
// and its runtime folder is full or read-only. An app of plain SO_REUSEPORT
// beside them is attached and detached. Which event comes when is decided by
// the seed alone, so that the same seed repeats a run as far as timing allows;
// -plan shows it.
//
// The time is cut into rounds. At the end of each, the app comes to rest, the
// counts of status must be those of sock_diag, the load ends, and the books are
// balanced. A connection may be lost only if a worker had accepted it that was
// killed: by us, for hanging, or when --grace was over. Everything else is a
// failure, as is whatever is left in the end; then the exit code is 1.
//
//	go run ./bench/chaos [-duration 10m] [-seed N] [-apps 3] [-rate 60] [-short] [-json FILE]
//
// It needs root. It ends by itself, and in order by Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	case o.plan:
		o.showPlan(os.Stdout)
		return
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}
