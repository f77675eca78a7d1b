// Command pick prints what the choice of a slot costs, as package pick
// measures it.
//
// It needs root, and nothing but Go.
//
//	go run ./bench/pick/cmd/pick [-slots 2,8,64,256] [-seconds 24] [-json]
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
	"strconv"
	"strings"
	"time"

	"github.com/sockdist/sockdist/bench/pick"
	"github.com/sockdist/sockdist/bench/show"
	"github.com/sockdist/sockdist/loader"
	"golang.org/x/sys/unix"
)

// places is how often the groups are made anew.
const places = 3

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

// run measures, and prints the report.
func run(ctx context.Context, o options, out io.Writer, progress *show.Progress) error {
	defer progress.Clear()
	report, err := pick.Measure(ctx, pick.Options{
		Slots:    o.slots,
		Length:   time.Duration(o.seconds * float64(time.Second)),
		Places:   places,
		Progress: func(slots int) { progress.Show("measuring %d slots", slots) },
	})
	if err != nil {
		return err
	}
	progress.Clear()
	if o.json {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	return report.Print(out)
}
