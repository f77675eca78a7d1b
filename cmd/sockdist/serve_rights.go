package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/sockdist/sockdist/internal/capabilities"
	"github.com/sockdist/sockdist/internal/folder"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/daemon"
)

// circumstancesOfServe are the conditions that a configuration meets.
func (e *environment) circumstancesOfServe(file *config.File) []condition {
	when := e.circumstances(e.appFolders()...)
	duty := e.dutyOfServe(file)
	for _, c := range []struct {
		is   bool
		when condition
	}{
		{duty.Users || duty.Same, withApps}, {duty.Users, withUser}, {duty.Groups, withGroups}, {duty.LowPorts, withLowPorts}, {givesSocket(file.Socket), withOwner}, {duty.Namespaces, elsewhere},
	} {
		if c.is {
			when = append(when, c.when)
		}
	}
	return when
}

// trust says who besides this process's user may change the configuration, and
// with it what runs in that user's name. A file that is open to all isn't used.
func trust(file *config.File, log *slog.Logger) error {
	err := folder.CheckFile(file.Path)
	if !errors.Is(err, folder.ErrOthers) {
		return nil // it was read
	}
	if info, statErr := os.Stat(file.Path); statErr == nil && info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("the configuration: %w", err)
	}
	log.Warn(fmt.Sprintf("who may change the configuration may do all that this process may: %v", err))
	return nil
}

// givesSocket tells whether the control socket is to have another owner than
// who makes it. It is given away once, so the duty has no part of it.
func givesSocket(s config.Socket) bool {
	gid := s.GID
	if gid == -1 {
		if group, err := user.LookupGroup(daemon.DefaultGroup); err == nil {
			gid, _ = strconv.Atoi(group.Gid)
		}
	}
	groups, _ := os.Getgroups()
	return s.UID != -1 && s.UID != os.Geteuid() || gid != -1 && gid != os.Getegid() && !slices.Contains(groups, gid)
}

// dutyOfServe is what a daemon does with a configuration.
func (e *environment) dutyOfServe(file *config.File) capabilities.Duty {
	duty := capabilities.Duty{
		Groups: len(file.Groups) > 0, Attached: len(file.Attach) > 0,
		Closed: e.stayClosed() || isClosed(filepath.Dir(file.Path)),
	}
	for _, a := range file.Apps {
		if a.User == "" || isOwnUser(a.User) {
			duty.Same = true
		} else {
			duty.Users = true
		}
	}
	duty.LowPorts = slices.ContainsFunc(file.Groups, func(g config.Group) bool { return g.Listen.Port() < 1024 })
	duty.Namespaces = slices.ContainsFunc(file.Attach, func(a config.Attachment) bool { return a.NetNS != "" || len(a.PIDs) > 0 })
	return duty
}

// settle gives up what is needed no longer once the daemon has its socket.
func (e *environment) settle(host *loader.Host, file *config.File, log *slog.Logger) {
	// Should bpffs be mounted, then now.
	if release, err := host.Claim(context.Background()); err == nil {
		release()
		_ = host.Remove() // the claim made a folder
	}
	fulfil(e.dutyOfServe(file), log)
}
