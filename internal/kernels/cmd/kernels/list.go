package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/sockdist/sockdist/internal/kernels"
)

// list prints which version each kernel resolves to, without downloading any.
func list(ctx context.Context, o options) (failed int, err error) {
	if err := kernels.Ensure(ctx, kernels.Fetchers(), os.Stderr); err != nil {
		return 0, err
	}
	cache := o.newCache()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KERNEL\tVERSION\tSUITE\tPACKAGE\tCACHED")
	for _, k := range o.kernels {
		image, err := cache.Resolve(ctx, k)
		if err != nil {
			return 0, fmt.Errorf("kernel %s: %w", k.Name, err)
		}
		cached := "no"
		if image.Release != "" {
			cached = image.Release
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", k.Name, image.Version, k.Suite, k.Meta, cached)
	}
	return 0, table.Flush()
}
