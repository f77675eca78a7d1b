package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/demo"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
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
	if err := may("demo", e.circumstances(filepath.Dir(e.machineFolder()))...); err != nil {
		return err
	}
	host, err := loader.OpenTemporary("demo")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Remove()) }()
	screen := &demoScreen{out: e.out, quiet: asJSON, file: e.screenFile()}
	if !asJSON && screen.file == nil {
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
	screen.finish(result)
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

// A demoScreen draws in place where it can, and elsewhere nothing before the end.
type demoScreen struct {
	out   io.Writer
	file  *os.File // a terminal that can move its cursor, or nil
	quiet bool
	lines int // of the last picture
}

// screenFile is where a picture can be drawn over the one before.
func (e *environment) screenFile() *os.File {
	file, ok := e.out.(*os.File)
	if !ok || !e.terminal || e.getenv("TERM") == "dumb" {
		return nil
	}
	return file
}

// Draw leaves out a picture that is larger than the terminal.
func (s *demoScreen) Draw(r demo.Result) {
	if s.quiet || s.file == nil {
		return
	}
	width, height := terminalSize(s.file)
	table := tableOf(r, width)
	lines := strings.Count(table, "\n")
	if fits := width >= demo.MinWidth && lines < height; fits || width == 0 {
		s.show(table)
		s.lines = lines
	}
}

func (s *demoScreen) finish(r demo.Result) {
	if s.file == nil {
		r.Write(s.out, 0)
		return
	}
	width, _ := terminalSize(s.file)
	s.show(tableOf(r, width))
}

// show puts a table in the place of the last one.
func (s *demoScreen) show(table string) {
	if s.lines > 0 {
		table = fmt.Sprintf("\x1b[%dA", s.lines) + clearBelow + table
	}
	_, _ = io.WriteString(s.out, table)
}

func tableOf(r demo.Result, width int) string {
	var table bytes.Buffer
	r.Write(&table, width)
	return table.String()
}

// terminalSize is in columns and lines, 0 if unknown.
func terminalSize(file *os.File) (width, height int) {
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}
