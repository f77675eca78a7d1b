// Command pick measures what the choice of a slot costs.
//
// It opens connections over loopback to groups of 2, 8, 64 and 256 sockets,
// one group for each policy, and reads from the kernel's own run statistics
// how long each group's program ran. Beside the policies stand an empty
// program, which is what the kernel's clock costs and is taken off all other
// figures, and a bare hash-select: the least that any program does which
// selects a socket.
//
// It needs root, and nothing but Go. Its groups are pinned in a folder of their
// own, which is removed at the end.
//
//	go run ./bench/pick [-slots 2,8,64,256] [-seconds 24] [-json]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockdist/sockdist/bench/show"
	"github.com/sockdist/sockdist/loader"
	"golang.org/x/sys/unix"
)

type options struct {
	slots   []int
	seconds float64 // of measuring, over all numbers of slots
	json    bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	options, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "pick:", err)
		os.Exit(2)
	}
	err = run(ctx, options, os.Stdout, show.NewProgress(os.Stderr))
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "pick:", err)
	if errors.Is(err, loader.ErrNotSupported) {
		os.Exit(3)
	}
	os.Exit(1)
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("pick", flag.ExitOnError)
	slots := flags.String("slots", "2,8,64,256", "numbers of slots to measure, 1 to 256, by commas")
	flags.Float64Var(&o.seconds, "seconds", 24, "time to measure, over all numbers of slots; half as much goes into making the groups")
	flags.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for field := range strings.SplitSeq(*slots, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 || n > loader.MaxSlots {
			return o, fmt.Errorf("-slots %q: must be numbers from 1 to %d", *slots, loader.MaxSlots)
		}
		o.slots = append(o.slots, n)
	}
	if o.seconds <= 0 || flags.NArg() > 0 {
		return o, fmt.Errorf("usage: pick [-slots 2,8,64,256] [-seconds 24] [-json]")
	}
	return o, nil
}

// lengthFor is how long to measure n slots. Large groups get more of the time:
// they have the targets, and more memory whose place is a matter of luck.
func (o options) lengthFor(n int) time.Duration {
	share := func(n int) float64 {
		if n < 64 {
			return 1
		}
		return 3
	}
	all := 0.0
	for _, slots := range o.slots {
		all += share(slots)
	}
	return time.Duration(o.seconds * share(n) / all * float64(time.Second))
}

// run measures one number of slots after the other and prints the report.
func run(ctx context.Context, o options, out io.Writer, progress *show.Progress) (err error) {
	perSlot, err := roomFor(slices.Max(o.slots))
	if err != nil {
		return err
	}
	host, err := loader.OpenTemporary("pick")
	if err != nil {
		return err
	}
	defer func() {
		if removed := host.Remove(); err == nil {
			err = removed
		}
	}()
	stop, err := loader.TimeRuns()
	if err != nil {
		return err
	}
	defer stop.Close()

	report := newReport(perSlot)
	for i, n := range o.slots {
		column, err := measure(ctx, host.Host, size{n, perSlot}, o.lengthFor(n), func(done float64) {
			progress.Show("measuring %d slots, %.0f %% done", n, 100*(float64(i)+done)/float64(len(o.slots)))
		})
		if err != nil {
			progress.Clear()
			return fmt.Errorf("%d slots: %w", n, err)
		}
		report.Columns = append(report.Columns, column)
	}
	progress.Clear()
	report.judge()
	if o.json {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	return report.print(out)
}
