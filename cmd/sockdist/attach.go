package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/attachment"
	"github.com/sockdist/sockdist/userspace/sockets"
	"github.com/spf13/cobra"
)

// attachFlags are the flags of attach as they were given.
type attachFlags struct {
	policy string
	name   string
	pids   []int
	netns  string
	watch  bool
	asJSON bool
}

func newAttach(env *environment) *cobra.Command {
	var flags attachFlags
	cmd := &cobra.Command{
		Use:   "attach ADDR",
		Short: "Steer the connections of a server that is running",
		Long: `Give each new connection of a running server to its least-loaded worker. The
server's sockets have to share their port already (SO_REUSEPORT: nginx "listen 80
reuseport", HAProxy "shards by-thread", Envoy, gunicorn reuse_port …); it is not
restarted, and no connection is lost.

ADDR is :80 (all addresses, of both families), 127.0.0.1:80, [::]:80, or the like
with tcp://, tcp4:// or tcp6:// before it. The sockets may be in any processes,
and in another network namespace with --netns or --pid.

It ends when that is done; the kernel goes on. Again, it brings the slots up to
date: new sockets get slots, those of sockets that are gone are freed. --watch
does that by itself until Ctrl-C, which leaves the steering in place, over
restarts of the server, too. sockdist detach undoes it.

  slot         the worker's place in its group
  pid process  who serves it
  connections  what it has already
  held by      which other processes have its socket, as a master has its workers'`,
		Example: `  sockdist attach :443
  sockdist attach 127.0.0.1:8080 --policy hash --name api
  sockdist attach :80 --netns blue --watch`,
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeThen(env, func(*environment) []string { return listeningAddresses(flags.netns) }),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.options(cmd.Flags().Changed("policy"), args[0])
			if err != nil {
				return usageError{err}
			}
			return env.attach(cmd.Context(), options, flags)
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.policy, "policy", "least", "how connections are given out: "+strings.Join(policyNames(), ", ")+"; a group that is there keeps its own")
	f.StringVar(&flags.name, "name", "", "name of the group (default from the address, such as 443)")
	f.IntSliceVar(&flags.pids, "pid", nil, "only sockets that this process holds (can be repeated)")
	f.StringVar(&flags.netns, "netns", "", "network namespace: a name, a path, or the PID of a process in it")
	f.BoolVar(&flags.watch, "watch", false, "stay, and follow the server's sockets as they come and go")
	f.BoolVar(&flags.asJSON, "json", false, "print JSON; with --watch, log JSON")
	_ = cmd.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions(policyNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("pid", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("netns", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return namedNamespaces(), cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

func (f attachFlags) options(policyGiven bool, address string) (o attachment.Options, err error) {
	if o.Address, err = sockets.ParseAddress(address); err != nil {
		return o, err
	}
	policy, err := loader.ParsePolicy(f.policy)
	if err != nil {
		return o, err
	}
	if policyGiven {
		o.Policy = &policy
	}
	if f.name != "" {
		if err := loader.CheckName(f.name); err != nil {
			return o, err
		}
	}
	o.Name, o.PIDs, o.NetNS = f.name, f.pids, f.netns
	return o, nil
}

func (e *environment) attach(ctx context.Context, o attachment.Options, flags attachFlags) error {
	when := e.circumstances(e.pinFolder())
	if err := may("attach", when...); err != nil {
		return err
	}
	host, err := e.host()
	if err != nil {
		return err
	}
	defer host.Close()
	groups, err := attachment.Attach(ctx, host, o)
	if err != nil {
		if when = append(when, ofOthers); o.NetNS != "" || len(o.PIDs) > 0 {
			when = append(when, elsewhere)
		}
		return explainRights("attach", err, when...)
	}
	if err := e.writeAttached(groups, flags.asJSON); err != nil || !flags.watch {
		return err
	}
	var handler slog.Handler = slog.NewTextHandler(e.err, nil)
	if flags.asJSON {
		handler = slog.NewJSONHandler(e.err, nil)
	}
	log := slog.New(handler)
	fulfil(e.dutyOfWatch(groups), log)
	return attachment.Watch(ctx, host, o, groups, log)
}

func (e *environment) writeAttached(groups []attachment.Group, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(e.out)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(attachedJSON(groups))
	}
	var parts []string
	for _, g := range groups {
		parts = append(parts, attachedBlock(g, newPaint(e)))
	}
	_, err := io.WriteString(e.out, strings.Join(parts, "\n"))
	return err
}

// listeningAddresses are what attach could mean, in a network namespace.
func listeningAddresses(netns string) (addresses []string) {
	var found []sockets.Listener
	err := sockets.In(netns, func() (err error) {
		found, err = sockets.Listeners(sockets.Address{})
		return err
	})
	if err != nil {
		return nil
	}
	for _, l := range found {
		text := sockets.Address{Host: l.Address.Addr().Unmap(), Port: l.Address.Port()}.String()
		if l.Address.Addr().Unmap().IsUnspecified() {
			text = fmt.Sprintf(":%d", l.Address.Port())
		}
		addresses = append(addresses, text)
	}
	slices.Sort(addresses)
	return slices.Compact(addresses)
}

func namedNamespaces() (names []string) {
	entries, err := os.ReadDir("/run/netns")
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		names = append(names, filepath.Base(entry.Name()))
	}
	return names
}
