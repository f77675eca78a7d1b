package membership

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
	"github.com/sockdist/sockdist/userspace/wire"
)

const (
	// MaxSlots is how many workers a group can have.
	MaxSlots = standbySlot
	// standbySlot is the slot of a socket that isn't a worker's.
	standbySlot = loader.MaxSlots - 1
)

// ErrConfig is wrapped when a configuration makes no sense, or can't be
// changed to.
var ErrConfig = errors.New("not possible")

// Config is what a group is to be.
type Config struct {
	Name   string         // see loader.CheckName
	Listen netip.AddrPort // with a port
	V6Only bool           // for [::]: no IPv4 connections
	Policy loader.Policy
	Slots  int // how many workers there may be, 1 … MaxSlots

	// UIDs and GIDs say who may join, besides root. Supplementary groups count.
	UIDs, GIDs []uint32

	// HangAfter is how long a worker may show no progress before it is ejected: no
	// accept while connections wait, or, for 500 ms at least, no heartbeat. 0: for
	// ever.
	HangAfter time.Duration

	// Standby is a listening socket of the service manager for this address, in
	// which connections wait while there is no worker. It stays the caller's and
	// must be open until Close or Remove. It may be nil, and is looked at by Open
	// only.
	Standby *os.File

	Logger *slog.Logger // nil: nothing is said
}

func (c *Config) complete() error {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Listen = netip.AddrPortFrom(c.Listen.Addr().Unmap().WithZone(""), c.Listen.Port())
	wildcard := c.Listen.Addr() == netip.IPv6Unspecified()
	switch {
	case loader.CheckName(c.Name) != nil:
		return loader.CheckName(c.Name)
	case !c.Listen.IsValid() || c.Listen.Port() == 0:
		return fmt.Errorf("listen at %s: an address with a port is needed: %w", c.Listen, ErrConfig)
	case c.V6Only && !wildcard:
		return fmt.Errorf("listen at %s for IPv6 only: that is for [::]: %w", c.Listen, ErrConfig)
	case c.Slots < 1 || c.Slots > MaxSlots:
		return fmt.Errorf("%d slots: 1 to %d are possible: %w", c.Slots, MaxSlots, ErrConfig)
	case c.HangAfter < 0:
		return fmt.Errorf("hung after %v: %w", c.HangAfter, ErrConfig)
	case !slices.Contains(loader.Policies(), c.Policy):
		return fmt.Errorf("%s: %w", c.Policy, ErrConfig)
	}
	return nil
}

// place is where the group listens, as the kernel tells groups apart.
func (c *Config) place() sockets.Group {
	return sockets.Group{Address: c.Listen, V6Only: c.V6Only}
}

// lets tells whether the peer may join.
func (c *Config) lets(p *wire.Peer) bool { return p.IsUser(c.UIDs...) || p.InGroup(c.GIDs...) }
