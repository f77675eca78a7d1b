package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/sockdist/sockdist/internal/capabilities"
	"github.com/sockdist/sockdist/userspace/attachment"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// fulfil gives up what is needed no longer. A process that can't goes on with
// more than it needs, as it would have to without this.
func fulfil(duty capabilities.Duty, log *slog.Logger) {
	err := duty.Fulfil()
	switch {
	case errors.Is(err, capabilities.ErrCgo):
		log.Debug(fmt.Sprintf("all capabilities are kept: %v", err))
	case err != nil:
		log.Warn(fmt.Sprintf("all capabilities are kept: %v", err))
	}
}

// dutyOfRun is what run does from the moment on at which its pins are there.
func (e *environment) dutyOfRun(who string) capabilities.Duty {
	same := who == "" || isOwnUser(who)
	return capabilities.Duty{Same: same, Users: !same, Closed: e.stayClosed()}
}

// dutyOfWatch is what attach --watch does after the first time.
func (e *environment) dutyOfWatch(groups []attachment.Group) capabilities.Duty {
	own, _, err := sockets.NetNSOf(0)
	away := slices.ContainsFunc(groups, func(g attachment.Group) bool { return err != nil || g.Spec.NetNS != own })
	return capabilities.Duty{Attached: true, Namespaces: away, Closed: isClosed(e.pinFolder())}
}

// isOwnUser tells whether USER or USER:GROUP is the user of this process.
func isOwnUser(who string) bool {
	name, _, _ := strings.Cut(who, ":")
	own := strconv.Itoa(os.Geteuid())
	if u, err := user.Lookup(name); err == nil {
		return u.Uid == own
	}
	return name == own
}
