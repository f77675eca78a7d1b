package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/demo"
	"github.com/spf13/cobra"
)

// demoWorkerVerb is how demo calls itself to start a worker.
const demoWorkerVerb = "demo-worker"

func newDemo(env *environment) *cobra.Command {
	plan := demo.Plan{}
	asJSON := false
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: the kernel's hash and least, side by side",
		Long: `Start small workers, one of them half as fast, which serve two ports each: one left to
the kernel's hash, one steered by policy least. Both get the same load at the
same time; the picture shows the connections that each worker has at the moment.

A worker serves one connection at a time, as a server that can use one core. The
load is half of what the workers can do together; latency counts from the moment
at which a connection was due.`,
		Example: "  sockdist demo\n  sockdist demo --duration 30s --workers 8",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := plan.Check(); err != nil {
				return usageError{err}
			}
			return env.demo(cmd, plan, asJSON)
		},
	}
	cmd.Flags().DurationVar(&plan.Duration, "duration", 10*time.Second, "how long, 1s to 10m")
	cmd.Flags().IntVar(&plan.Workers, "workers", 4, fmt.Sprintf("how many workers, 2 to %d", demo.MaxWorkers))
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func (e *environment) demo(cmd *cobra.Command, plan demo.Plan, asJSON bool) (err error) {
	host, err := loader.OpenTemporary("demo")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Remove()) }()
	screen := &demoScreen{env: e, quiet: asJSON}
	if !asJSON && !e.terminal {
		fmt.Fprintf(e.out, "running for %v …\n", plan.Duration)
	}
	result, err := demo.Run(cmd.Context(), host.Host, plan, demoWorkerCommand, screen)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(e.out).Encode(struct {
			demo.Result
			Verdict string `json:"verdict"`
		}{result, result.Verdict()})
	}
	screen.Draw(result)
	if !e.terminal {
		result.Write(e.out)
	}
	fmt.Fprintf(e.out, "\n%s\n", result.Verdict())
	return nil
}

func demoWorkerCommand(number int, service time.Duration) []string {
	return []string{"/proc/self/exe", demoWorkerVerb, strconv.Itoa(number), service.String()}
}

func newDemoWorker(*environment) *cobra.Command {
	return &cobra.Command{
		Use:    demoWorkerVerb + " NUMBER SERVICE",
		Short:  "Serve as a worker of the demo (internal)",
		Hidden: true,
		Args:   usage(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error {
			number, err := strconv.Atoi(args[0])
			if err != nil {
				return usagef("number %q: %w", args[0], err)
			}
			service, err := time.ParseDuration(args[1])
			if err != nil {
				return usageError{err}
			}
			return demo.Worker(number, service)
		},
	}
}

// A demoScreen draws in place on a terminal, and elsewhere nothing before the end.
type demoScreen struct {
	env   *environment
	quiet bool
	lines int // of the last picture
}

func (s *demoScreen) Draw(r demo.Result) {
	if s.quiet || !s.env.terminal {
		return
	}
	var picture bytes.Buffer
	if s.lines > 0 {
		fmt.Fprintf(&picture, "\x1b[%dA", s.lines)
	}
	var table bytes.Buffer
	r.Write(&table)
	for line := range strings.Lines(table.String()) {
		picture.WriteString(strings.TrimSuffix(line, "\n") + "\x1b[K\n")
	}
	s.lines = strings.Count(table.String(), "\n")
	_, _ = s.env.out.Write(picture.Bytes())
}
