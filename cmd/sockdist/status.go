package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"
)

// watchInterval is how often status --watch looks.
const watchInterval = time.Second

func newStatus(env *environment) *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:        "status [NAME]",
		SuggestFor: []string{"list", "ls", "ps", "show"},
		Short:      "Show groups, slots and how many connections each has",
		Long: `Show all groups, or those of NAME: a group, an app or an address. Nothing has to run
for it: what it shows stands in the kernel.

  slot         the worker's place in its group
  pid process  who accepts; (ended) if nobody holds the socket any more
  state        live; draining: gets no new connections; gone: its socket was closed
  weight       its share, 100 if nobody changed it
  max          how many connections it may have; - if any number
  connections  established ones, in its accept queue or accepted
  pending      handshakes that are on the way
  load         what the worker reports by itself
  backlog      connections in its accept queue; ? if its network namespace is out of reach
  picks        connections it was given since the group was made
  migrated     connections it got when another worker's socket closed

Numbers of 100,000 and more are rounded; those of --json never are.

With --json a group's "protocol", "://" and "address" make an ADDR for attach:
protocol is tcp4 or tcp6. "steering" and "backlog" are null if they can't be
told. A worker's state in "apps" is live as long as one of its slots is.`,
		Example: `  sockdist status
  sockdist status web --watch
  sockdist status :8080 --json | jq '.groups[].slots[] | {slot, connections}'`,
		Args:              usage(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeThen(env, completeGroups),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return env.status(cmd.Context(), name, asJSON, watch)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON; with --watch, a line each time")
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again every second, until Ctrl-C")
	return cmd
}

func (e *environment) status(ctx context.Context, name string, asJSON, watch bool) error {
	if !watch {
		s, err := e.readStatus(name)
		if err != nil {
			return err
		}
		return e.writeStatus(s, asJSON)
	}
	return e.watch(ctx, name, asJSON)
}

func (e *environment) writeStatus(s *status, asJSON bool) error {
	if asJSON {
		return writeStatusJSON(e.out, s)
	}
	_, err := io.WriteString(e.out, s.table(newPaint(e)))
	return err
}

func writeStatusJSON(out io.Writer, s *status) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(s)
}

// watch shows the status again and again. What NAME means must be there at
// first; if it goes, that is shown, and so is its return.
func (e *environment) watch(ctx context.Context, name string, asJSON bool) error {
	screen := newScreen(e)
	defer screen.close()
	for first := true; ; first = false {
		s, err := e.readStatus(name)
		gone := !first && errors.Is(err, fs.ErrNotExist)
		switch {
		case gone:
			s = emptyStatus()
		case err != nil:
			return err
		}
		switch {
		case asJSON:
			err = writeStatusJSON(e.out, s)
		case gone:
			err = screen.show(fmt.Sprintf("%s is gone\n", name))
		default:
			err = screen.show(s.table(newPaint(e)))
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchInterval):
		}
	}
}
