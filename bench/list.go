package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/sockdist/sockdist/bench/contender"
	"github.com/sockdist/sockdist/bench/workload"
)

// list prints what there is to compare, and by what.
func list(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench list", flag.ContinueOnError)
	flags.SetOutput(stderr)
	cases := flags.Bool("cases", false, "every case, not only the workloads")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil || flags.NArg() > 0 {
		return fail(stderr, errors.New("usage: bench list [-cases]"), exitUsage)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WORKLOAD\tCASES\tABOUT")
	for _, l := range workload.All() {
		all := l.Cases(workload.Full)
		fmt.Fprintf(w, "%s\t%d\t%s\n", l.Name, len(all), l.Title)
		for _, c := range all {
			if *cases {
				fmt.Fprintf(w, "  %s\t\t%s, %v a round\n", c.Name, c.Title, c.Length.Round(time.Second))
			}
		}
	}
	fmt.Fprintln(w, "\nCONTENDER\tAPP\tWHAT")
	for _, c := range contender.All() {
		title := c.Title
		if missing := c.Missing(); missing != "" {
			title += " (left out: " + missing + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Name, c.Family, title)
	}
	if w.Flush() != nil {
		return exitFailed
	}
	return 0
}
