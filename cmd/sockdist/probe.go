package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/spf13/cobra"
)

func newProbe(env *environment) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "probe NAME/SLOT [URL]",
		Short: "Ask one worker, whichever the kernel would choose",
		Long: `Connect to the worker in a slot, whichever the policy would choose, and get a URL
from it; without a URL, see whether it is there. It reaches drained workers too.
The queue of one that hangs is given to others, and the probe with it. Only who
can write the pins of sockdist can do this: a client on the network has no way to
choose its worker.

Prints the answer's body. Exit code 1 if the worker doesn't answer, or with a
status of 400 or more.`,
		Example: `  sockdist probe web/2 http://localhost:8080/health
  sockdist probe web-8080/0`,
		Args:              usage(cobra.RangeArgs(1, 2)),
		ValidArgsFunction: completeThen(env, completeSlots),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout <= 0 {
				return usagef("probe: --timeout %v: must be more than 0", timeout)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return env.probe(ctx, args)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long the worker has to answer")
	return cmd
}

func (e *environment) probe(ctx context.Context, args []string) error {
	target, err := parseTarget(args[1:])
	if err != nil {
		return err
	}
	name, slot, err := parseSlot(args[0])
	if err != nil {
		return err
	}
	return e.withGroups(name, func(groups []*loader.Group) error {
		g := groupFor(groups, target)
		if g == nil {
			return fmt.Errorf("%s has no group on port %s: sockdist status %s lists them", name, target.Port(), name)
		}
		if target == nil {
			return e.probeConnect(ctx, g, slot)
		}
		return e.probeGet(ctx, g, slot, target)
	})
}

func parseTarget(args []string) (*url.URL, error) {
	if len(args) == 0 {
		return nil, nil
	}
	target, err := url.Parse(args[0])
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return nil, usagef("probe: %q is no URL such as http://localhost:8080/health", args[0])
	}
	return target, nil
}

// groupFor is the group on the URL's port; without one, the first.
func groupFor(groups []*loader.Group, target *url.URL) *loader.Group {
	for _, g := range groups {
		if target == nil || target.Port() == "" || target.Port() == fmt.Sprint(g.Spec().Address.Port()) {
			return g
		}
	}
	return nil
}

func (e *environment) probeConnect(ctx context.Context, g *loader.Group, slot int) error {
	began := time.Now()
	conn, err := g.Dial(ctx, slot, netip.AddrPort{})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s/%d: connected in %v\n", g.Name(), slot, time.Since(began).Round(10*time.Microsecond))
	return conn.Close()
}

func (e *environment) probeGet(ctx context.Context, g *loader.Group, slot int, target *url.URL) error {
	client := control.DirectClient(func(ctx context.Context) (net.Conn, error) { return g.Dial(ctx, slot, netip.AddrPort{}) })
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("probe %s/%d: %w", g.Name(), slot, err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(e.out, response.Body); err != nil {
		return fmt.Errorf("probe %s/%d: read the answer: %w", g.Name(), slot, err)
	}
	if response.StatusCode >= 400 {
		return fmt.Errorf("probe %s/%d: it answers %s", g.Name(), slot, response.Status)
	}
	return nil
}
