package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/internal/servers"
)

// firstLayout is the last commit whose pins have the layout v1.
const firstLayout = "5926701"

// buildFirst builds the sockdist of that commit, once.
var buildFirst = sync.OnceValues(func() (string, error) {
	p, err := findPrograms()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(filepath.Dir(p.sockdist), "v1")
	archive := exec.Command("git", "archive", firstLayout)
	archive.Dir = filepath.Join("..", "..")
	source, err := archive.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoHistory, err)
	}
	unpack := exec.Command("tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(source)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if out, err := unpack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	binary := filepath.Join(dir, "sockdist-v1")
	build := exec.Command("go", "build", "-o", binary, "./cmd/sockdist")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return binary, nil
})

var errNoHistory = errors.New("commit " + firstLayout + " isn't in the history here")

// needFirst is the sockdist with the layout v1.
func needFirst(t testing.TB) string {
	t.Helper()
	needPrograms(t)
	binary, err := buildFirst()
	if errors.Is(err, errNoHistory) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// startEarlier is startBooked by another sockdist. Who is started again is of today.
func (s setup) startEarlier(t testing.TB, binary string, server ledger.Server, n int) *booked {
	t.Helper()
	s.prepare = func(cmd *exec.Cmd) { cmd.Path = binary }
	return s.startUnread(t, server, n)
}

// startUnread is startBooked where the pins can't be read.
func (s setup) startUnread(t testing.TB, server ledger.Server, n int) *booked {
	t.Helper()
	command, err := server.Install(t.TempDir())
	if errors.Is(err, exec.ErrNotFound) {
		privilege.Tool(t, server.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	b := &booked{port: servers.FreePort(t, nil), workers: n, records: t.TempDir(), seed: seed(t), numbers: 1}
	b.random = rand.New(rand.NewPCG(b.seed, 0))
	s.flags = append([]string{"-n", fmt.Sprint(n)}, s.flags...)
	s.env = append(s.env, ledger.FolderVariable+"="+b.records)
	b.app = s.start(t, append(command, fmt.Sprint(b.port))...).serves(b.port, n)
	return b
}

// mains are the main processes of the workers, by the leaf they are in.
func (a *app) mains() map[int]int {
	mains := make(map[int]int)
	for leaf, pids := range a.workers() {
		var slot int
		if _, err := fmt.Sscan(leaf, &slot); err == nil {
			mains[slot] = slices.Min(pids)
		}
	}
	return mains
}

// moment lets some time pass, which the seed decides.
func (b *booked) moment(most time.Duration) { time.Sleep(time.Duration(b.random.Int64N(int64(most)))) }

// expectNothingEarlier checks that all pins are of today's layout.
func (a *app) expectNothingEarlier() {
	a.t.Helper()
	until(a.t, "the pins of the first layout are gone", func() bool { return len(a.glob("v1*")) == 0 })
	if layouts := a.glob("v*"); len(layouts) != 1 {
		a.t.Errorf("pins: %v, want those of one layout", layouts)
	}
}

// upgraded looks at an app whose sockdist is another one than before.
func (b *booked) upgraded(workers map[int]int, load []*ledger.Run) {
	b.t.Helper()
	b.serves(b.port, len(workers))
	expectKept(b.t, workers, b.changed(len(workers)))
	b.expectNothingEarlier()
	b.goesOn(b.port)
	b.finish(load)
	b.expectExact()
	b.expectNoneLost()
}

// worksAsUsual: the new sockdist does all that it could if it had started the app.
func (b *booked) worksAsUsual(c changes) {
	b.t.Helper()
	n := b.workers
	load := b.load(c.rate, ledger.Held{})
	b.losesAWorker()
	before := b.changed(n)
	b.verb("reload", b.name)
	expectReplaced(b.t, before, b.changed(n))
	b.verb("scale", b.name, fmt.Sprint(n+1))
	b.changed(n + 1)
	b.finish(load)
	book, _ := b.settle()
	b.expectOnlyKilledLost(book)
	b.expectNoneRefused()
	b.verb("stop", b.name)
	if code := b.exit(); code != 0 {
		b.t.Errorf("stopped: exit code %d", code)
	}
}

// sockdist is replaced by one whose maps have another layout, under load: the
// workers stay, no connection notices, all are counted, and nothing of the old
// layout is left.
func TestUpgradeFromTheFirstLayout(t *testing.T) {
	t.Parallel()
	first := needFirst(t)
	oneServer(t, ledger.Node, func(t *testing.T, server ledger.Server) {
		c := deaths()
		for turn := range 2 {
			t.Run(fmt.Sprint(turn), func(t *testing.T) {
				t.Parallel()
				b := flags("--log plain --grace 20s").startEarlier(t, first, server, 3)
				workers := b.mains()
				b.hold(c.held, ledger.Held{Life: 20 * time.Second})
				load := b.load(c.rate, ledger.Held{})
				b.moment(time.Second)
				b.app.kill()
				b.moment(200 * time.Millisecond)
				b.app = b.startAgain()
				b.says("took over 3 workers")
				b.upgraded(workers, load)
				b.worksAsUsual(c)
			})
		}
	})
}

// The same, and the new sockdist is killed while it moves the sockets.
func TestUpgradeIsKilled(t *testing.T) {
	t.Parallel()
	first := needFirst(t)
	turns := 3
	if long() {
		turns = 20
	}
	for turn := range turns {
		t.Run(fmt.Sprint(turn), func(t *testing.T) {
			t.Parallel()
			c := deaths()
			b := flags("--log plain --grace 20s").startEarlier(t, first, ledger.Python, 4)
			workers := b.mains()
			b.hold(c.held, ledger.Held{Life: 20 * time.Second})
			load := b.load(c.rate, ledger.Held{})
			b.moment(300 * time.Millisecond)
			b.app.kill()
			b.app = b.startAgain()
			// A while after there is an app, or a group.
			pins := []string{"v2/apps/*", "v2/groups/*"}[turn%2]
			for deadline := time.Now().Add(patience); len(b.glob(pins)) == 0 && time.Now().Before(deadline); {
				time.Sleep(100 * time.Microsecond)
			}
			b.moment(20 * time.Millisecond)
			b.app.kill()
			t.Logf("killed when there were %v", slices.Concat(b.glob("v*/apps/*"), b.glob("v*/groups/*")))
			b.moment(300 * time.Millisecond)
			b.app = b.startAgain()
			b.says("took over 4 workers")
			b.upgraded(workers, load)
			b.worksAsUsual(c)
		})
	}
}

// Several apps of one machine are upgraded one after the other: each in its
// time, and the last one leaves nothing of the old layout.
func TestUpgradeOneAppOfTwo(t *testing.T) {
	t.Parallel()
	first := needFirst(t)
	a := flags("--log plain").startEarlier(t, first, ledger.Go, 2)
	beside := flags("--log plain")
	beside.beside = a.app
	b := beside.startEarlier(t, first, ledger.Go, 2)
	c := deaths()
	for _, app := range []*booked{a, b} {
		workers := app.mains()
		load := app.load(c.rate, ledger.Held{})
		app.app.kill()
		app.app = app.startAgain()
		app.says("took over 2 workers")
		app.serves(app.port, 2)
		until(t, "its pins of the first layout are gone", func() bool {
			return len(app.glob("v1/*/"+app.name+"*")) == 0
		})
		expectKept(t, workers, app.changed(2))
		app.finish(load)
		app.expectExact()
		app.expectNoneLost()
	}
	a.expectNothingEarlier()
	if names := slices.Sorted(maps.Keys(a.groups())); len(names) != 2 {
		t.Errorf("groups %v, want one of each app", names)
	}
}
