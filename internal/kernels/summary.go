package kernels

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Summarize writes a line for each result and a closing one, and tells how many failed.
func Summarize(w io.Writer, results []Result) (failed int) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range results {
		verdict, remark := "ok", ""
		switch {
		case r.Err != nil:
			failed++
			verdict, remark = "FAIL", "  ("+r.Err.Error()+")"
		case r.NoTests:
			remark = "  [no tests to run]"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%.1fs%s\n", verdict, r.Image.Name, r.Image.Release,
			r.Package.Path, r.Took.Round(100*time.Millisecond).Seconds(), remark)
	}
	table.Flush()
	fmt.Fprintf(w, "%d passed, %d failed\n", len(results)-failed, failed)
	return failed
}
