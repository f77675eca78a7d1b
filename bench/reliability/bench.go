package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sockdist/sockdist/bench/show"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/loader"
)

// bench is what all parts share.
type bench struct {
	options
	ctx      context.Context
	progress *show.Progress
	random   *rand.Rand
	ends     time.Time
	folder   string // temporary
	pins     string // folder
	can      abilities
	server   []string // the command of the Go server, without its port
	node     []string // of the Node server; none: not installed
	leftOut  []string
	started  int // apps
}

// abilities are what the measured sockdist has. Older ones lack some.
type abilities struct{ hangAfter, reload, scale bool }

// lackError says that a part can't be measured here.
type lackError struct{ what string }

func (e *lackError) Error() string { return e.what }

func newBench(ctx context.Context, o options) (*bench, error) {
	b := &bench{options: o, ctx: ctx, progress: show.NewProgress(os.Stderr), random: rand.New(rand.NewPCG(o.seed, 0)), ends: time.Now().Add(o.limit)}
	host, err := loader.Open(loader.Options{})
	if err != nil {
		return nil, err
	}
	b.pins = filepath.Join(filepath.Dir(filepath.Dir(host.Dir())), fmt.Sprintf("sockdist-reliability-%d", os.Getpid()))
	if b.folder, err = os.MkdirTemp("", "reliability-"); err != nil {
		return nil, err
	}
	if err := b.build(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) build() (err error) {
	b.progress.Show("building")
	defer b.progress.Clear()
	if b.sockdist == "" {
		b.sockdist = filepath.Join(b.folder, "sockdist")
		build := exec.CommandContext(b.ctx, "go", "build", "-o", b.sockdist, "github.com/sockdist/sockdist/cmd/sockdist")
		if output, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build sockdist: %w: %s", err, output)
		}
	}
	if b.server, err = ledger.Go.Install(b.folder); err != nil {
		return err
	}
	if b.node, err = ledger.Node.Install(b.folder); err != nil {
		b.leaveOut("contenders on Node: %v", err)
	}
	b.can.hangAfter = b.helpHas("--hang-after", "run")
	b.can.reload = b.helpHas("all-at-once", "reload")
	b.can.scale = b.helpHas("scale NAME", "scale")
	return nil
}

func (b *bench) helpHas(text, verb string) bool {
	output, _ := exec.CommandContext(b.ctx, b.sockdist, verb, "--help").CombinedOutput()
	return strings.Contains(string(output), text)
}

func (b *bench) close() {
	os.RemoveAll(b.folder)
	_ = os.RemoveAll(b.pins)
}

func (b *bench) leaveOut(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	for _, said := range b.leftOut {
		if said == line {
			return
		}
	}
	b.leftOut = append(b.leftOut, line)
}

var errOver = errors.New("the time is over (-limit)")

// goOn is an error if nothing new should begin.
func (b *bench) goOn() error {
	if b.ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if time.Now().After(b.ends) {
		return errOver
	}
	return nil
}

// sleep ends early with the context.
func (b *bench) sleep(d time.Duration) {
	select {
	case <-b.ctx.Done():
	case <-time.After(d):
	}
}

// onNode are contenders that serve with Node, which is slower than Go: only to
// be compared with each other.
func (b *bench) onNode(flags ...string) []contender {
	if b.node == nil {
		return nil
	}
	return []contender{nodeCluster, {"sockdist least, node", func(b *bench, workers int) (fleet, error) {
		return startApp(b, b.node, workers, flags...)
	}}}
}

// clients are loads on one fleet.
type clients struct{ runs []*ledger.Run }

// load begins a load over IPv4 and one over IPv6, each of half the rate, and of
// half of the held connections.
func (b *bench) load(f fleet, held ledger.Held) (*clients, error) {
	c := &clients{}
	held.Count /= 2
	for i, host := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		r, err := ledger.Start(ledger.Load{
			Server: netip.AddrPortFrom(host, uint16(f.port())), Rate: b.rate / 2, Held: held,
			Seed: b.random.Uint64(), First: 1 + uint64(i)<<32,
		})
		if err != nil {
			c.finish()
			return nil, err
		}
		c.runs = append(c.runs, r)
	}
	return c, nil
}

func (c *clients) finish() *ledger.Book {
	var books []*ledger.Book
	for _, r := range c.runs {
		books = append(books, r.Finish())
	}
	return ledger.Merge(books...)
}

// settle balances the books with what the fleet recorded.
func settle(book *ledger.Book, f fleet, kills []ledger.Kill) (*ledger.Report, error) {
	records, err := ledger.ReadRecords(f.records())
	if err != nil {
		return nil, err
	}
	return book.Report(book.Balance(records, kills...)), nil
}
