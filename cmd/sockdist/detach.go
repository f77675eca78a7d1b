package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/attachment"
	"github.com/sockdist/sockdist/userspace/sockets"
	"github.com/spf13/cobra"
)

func newDetach(env *environment) *cobra.Command {
	var all bool
	var netns string
	cmd := &cobra.Command{
		Use:   "detach NAME|ADDR",
		Short: "Undo attach: the kernel's hash decides again",
		Long: `Undo attach. The kernel's own hash gives out connections again, and nothing of
sockdist is left in the kernel. No connection is lost. It works when the server
has ended, too.

Groups of an app that sockdist run looks after go with it: sockdist stop NAME.`,
		Example: `  sockdist detach :443
  sockdist detach --all`,
		Args: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return usagef("detach: --all takes no name")
			}
			if all {
				return nil
			}
			return usage(cobra.ExactArgs(1))(cmd, args)
		},
		ValidArgsFunction: completeThen(env, completeAttached),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if !all {
				name = args[0]
			}
			return env.detach(cmd.Context(), name, netns)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every group that attach made")
	cmd.Flags().StringVar(&netns, "netns", "", "network namespace, where it can't be found by itself: a name, a path, or a PID")
	_ = cmd.RegisterFlagCompletionFunc("netns", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return namedNamespaces(), cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// detach does it to what name means, "" for all that has no app.
func (e *environment) detach(ctx context.Context, name, netns string) error {
	if nothing, err := e.nothingPinned(); err != nil || nothing && name == "" {
		return err
	}
	if err := may("detach", e.circumstances(e.pinFolder())...); err != nil {
		return err
	}
	host, err := e.host()
	if err != nil {
		return err
	}
	defer host.Close()
	earlier, err := earlierToDetach(host, name, netns)
	if err != nil {
		return err
	}
	specs, err := toDetach(host, name)
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || len(earlier) == 0) {
		return err
	}
	var failed error
	for _, spec := range specs {
		err := attachment.Detach(ctx, host, spec.Name, netns)
		if errors.Is(err, attachment.ErrApp) && spec.App == name {
			return err // and so are the app's other groups
		}
		if err != nil {
			failed = errors.Join(failed, explainRights("detach", err, whereIs(spec)...))
			continue
		}
		protocol, address := protocolOf(spec.Address)
		fmt.Fprintf(e.out, "%s  %s://%s  given back to the kernel's hash\n", spec.Name, protocol, address)
	}
	for _, g := range earlier {
		err := attachment.Detach(ctx, host, g.Name, netns)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went with ours of that name
		}
		if err != nil {
			failed = errors.Join(failed, explainRights("detach", err, ofOthers, elsewhere))
			continue
		}
		fmt.Fprintf(e.out, "%s  of another version of sockdist (%s)  given back to the kernel's hash\n", g.Name, g.Layout)
	}
	if failed == nil && name != "" {
		e.mentionSibling(host, specs)
	}
	return failed
}

// whereIs are the conditions under which a group is detached.
func whereIs(spec loader.GroupSpec) []condition {
	if own, _, err := sockets.NetNSOf(0); err == nil && own == spec.NetNS {
		return []condition{ofOthers}
	}
	return []condition{ofOthers, elsewhere}
}

// toDetach are the groups that name means. An address means those of one
// network namespace: the same in another is another server's.
func toDetach(host *loader.Host, name string) (specs []loader.GroupSpec, err error) {
	var groups []*loader.Group
	if name == "" {
		groups, err = allGroups(host)
	} else {
		groups, err = groupsOf(host, name)
	}
	if err != nil {
		return nil, err
	}
	defer closeGroups(groups)
	for _, g := range groups {
		if spec := g.Spec(); name != "" || spec.App == "" {
			specs = append(specs, spec)
		}
	}
	if name == "" || len(specs) == 0 {
		return specs, nil
	}
	if slices.ContainsFunc(specs, func(s loader.GroupSpec) bool { return s.NetNS != specs[0].NetNS }) {
		return nil, fmt.Errorf("%s is an address in several network namespaces: detach by name, %s", name, strings.Join(namesOf(specs), " or "))
	}
	return specs, nil
}

// earlierToDetach are the groups of other versions that name means: of that
// name, at that address, or all that have no app.
func earlierToDetach(host *loader.Host, name, netns string) ([]attachment.EarlierGroup, error) {
	all, err := attachment.Earlier(host, nil, "")
	if err != nil || len(all) == 0 {
		return nil, err
	}
	if name == "" {
		return slices.DeleteFunc(all, func(g attachment.EarlierGroup) bool { return g.App != "" }), nil
	}
	if called := slices.DeleteFunc(all, func(g attachment.EarlierGroup) bool { return g.Name != name }); len(called) > 0 {
		return called, nil
	}
	address, err := sockets.ParseAddress(name)
	if err != nil {
		return nil, nil // a name that no group has
	}
	return attachment.Earlier(host, &address, netns)
}

func namesOf(specs []loader.GroupSpec) (names []string) {
	for _, s := range specs {
		names = append(names, s.Name)
	}
	return names
}

// mentionSibling tells of the other family's group, which was attached by the same address, mostly.
func (e *environment) mentionSibling(host *loader.Host, done []loader.GroupSpec) {
	left, err := allGroups(host)
	if err != nil {
		return
	}
	defer closeGroups(left)
	for _, g := range left {
		spec := g.Spec()
		if slices.ContainsFunc(done, func(d loader.GroupSpec) bool { return isSibling(spec, d) }) {
			fmt.Fprintf(e.out, "%s  of the same port is steered still: sockdist detach %[1]s\n", spec.Name)
		}
	}
}

func isSibling(a, b loader.GroupSpec) bool {
	both := sockets.Address{Port: b.Address.Port()}
	return a.NetNS == b.NetNS && a.App == "" && b.App == "" &&
		both.Matches(sockets.Listener{Address: a.Address}) && both.Matches(sockets.Listener{Address: b.Address})
}

func completeAttached(env *environment) (names []string) {
	host, err := env.host()
	if err != nil {
		return nil
	}
	specs, err := toDetach(host, "")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return namesOf(specs)
}
