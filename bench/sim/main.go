package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sockdist/sockdist/bench/show"
)

// Exit codes of Main.
const (
	done       = 0
	failed     = 1
	wrongUsage = 2
)

// Main is the command: it simulates what the flags say, and prints tables, or JSON.
// The exit code is 0, 1 on a failure, or 2 where the flags are wrong.
//
//	sim -workers 8 -load 0.5,0.7,0.85,0.95 -service exponential -rounds 5
//	sim -brief -workers 8,64 -rtt 0,0.1,1,10 -contenders least,p2c,rr
//	sim -workers 16 -crash -every 1000 -back 100 -burst 200
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if isHelp(err) {
		return done
	}
	if err != nil {
		fmt.Fprintln(stderr, "sim:", err)
		return wrongUsage
	}
	if err := o.run(ctx, stdout, progressOn(stderr)); err != nil {
		fmt.Fprintln(stderr, "sim:", err)
		return failed
	}
	return done
}

func progressOn(stderr io.Writer) *show.Progress {
	if file, ok := stderr.(*os.File); ok {
		return show.NewProgress(file)
	}
	return new(show.Progress)
}

func (o *options) run(ctx context.Context, stdout io.Writer, progress *show.Progress) error {
	var all []*Comparison
	for n, s := range o.scenarios {
		c, err := Compare(ctx, s, o.contenders, o.rounds, o.seed, func(share float64) {
			progress.Show("%d of %d: %s, %.0f %% done", n+1, len(o.scenarios), s, 100*share)
		})
		progress.Clear()
		if err != nil {
			return err
		}
		all = append(all, c)
		if o.json || o.brief {
			continue
		}
		if n == 0 {
			fmt.Fprintf(stdout, heading, o.rounds)
		}
		if err := c.print(stdout); err != nil {
			return err
		}
	}
	return errors.Join(o.finish(stdout, all), show.Save(o.out, all))
}

// finish prints what is about all scenarios.
func (o *options) finish(stdout io.Writer, all []*Comparison) error {
	switch {
	case o.json:
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(all)
	case o.brief:
		return printBrief(stdout, all)
	}
	return nil
}
