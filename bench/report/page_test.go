package report

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/bench/result"
)

func pageOf(t *testing.T, runs ...*result.Results) string {
	t.Helper()
	var b bytes.Buffer
	if err := Page(&b, runs...); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPage(t *testing.T) {
	r := made()
	page := pageOf(t, r)
	if *keep != "" {
		if err := os.WriteFile(filepath.Join(*keep, "page.html"), []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := r.Save(filepath.Join(*keep, "results.json")); err != nil {
			t.Fatal(err)
		}
	}
	if page != pageOf(t, r) {
		t.Error("the same results give another page")
	}
	if len(page) > 3<<20 || len(page) < 100<<10 {
		t.Errorf("%d kB", len(page)>>10)
	}
	selfContained(t, page)
	linked(t, page)
	if plots, named := strings.Count(page, `<svg class="plot"`), strings.Count(page, `<svg class="plot" role="img" aria-label="`); plots < 40 || plots != named {
		t.Errorf("%d plots, %d with a text", plots, named)
	}
	if text := regexp.MustCompile(`(?s)<style>.*?</style>`).ReplaceAllString(page, ""); strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "NaN") || strings.Contains(text, "%!") {
		t.Error("something can't be shown")
	}
}

// selfContained finds whatever would ask a network.
func selfContained(t *testing.T, page string) {
	t.Helper()
	for _, bad := range []string{"<script", "<link", "<img", "<iframe", "@import", "url(", " src=", "xlink", "<?xml"} {
		if strings.Contains(page, bad) {
			t.Errorf("%s in the page", bad)
		}
	}
	for _, ref := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(ref[1], "#") {
			t.Errorf("a link to %s", ref[1])
		}
	}
}

// linked checks that links lead somewhere, and that ids are unique.
func linked(t *testing.T, page string) {
	t.Helper()
	ids := map[string]int{}
	for _, id := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[id[1]]++; ids[id[1]] > 1 {
			t.Errorf("id %s twice", id[1])
		}
	}
	links := regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(page, -1)
	for _, link := range links {
		if ids[link[1]] == 0 {
			t.Errorf("a link to %s, which isn't there", link[1])
		}
	}
	if len(links) < 15 {
		t.Errorf("%d links", len(links))
	}
}

// Each loss is told, before ties, and those before wins.
func TestLossesLead(t *testing.T) {
	page := pageOf(t, made())
	losses, ties, wins := strings.Index(page, `id="losses"`), strings.Index(page, `id="ties"`), strings.Index(page, `id="wins"`)
	if losses < 0 || ties < losses || wins < ties || wins > strings.Index(page, `id="w-rate"`) {
		t.Fatalf("losses at %d, ties at %d, wins at %d", losses, ties, wins)
	}
	section := page[losses:ties]
	for _, x := range those(contests(made()), result.Worse) {
		if !strings.Contains(section, x.c.Name) || !strings.Contains(section, x.row+": "+title(x.metric)) {
			t.Errorf("%s, %s of %s isn't among the losses", x.c.Name, x.metric.Name, x.row)
		}
	}
	if !strings.Contains(section, "the worker left: exit status 2") {
		t.Error("a contender that failed isn't among the losses")
	}
}

func TestWarnings(t *testing.T) {
	good := around(5, *small())
	good.Trust = result.Trust{Tolerance: 0.05, Checks: []result.Check{{Name: "M/M/1", Expected: 10, Measured: 10.2, Unit: "ms"}}}
	if page := pageOf(t, good); strings.Contains(page, `role="alert"`) || strings.Contains(page, ": too much") {
		t.Error("a warning about a good run")
	}
	noisy := *good
	noisy.Trust = result.Trust{Noisy: true, Tolerance: 0.05, Checks: []result.Check{{Name: "M/M/1", Expected: 10, Measured: 12, Unit: "ms"}}}
	if page := pageOf(t, &noisy); !strings.Contains(page, "This machine was too noisy") || !strings.Contains(page, "&#43;20.0 %: too much") && !strings.Contains(page, "+20.0 %: too much") {
		t.Error("no warning about a noisy machine")
	}
	unproved := *good
	unproved.Trust = result.Trust{}
	if page := pageOf(t, &unproved); !strings.Contains(page, "did not prove itself") {
		t.Error("no warning about a run without a check")
	}
	once := small()
	for i := range once.Rows {
		once.Rows[i].Rounds = once.Rows[i].Rounds[:1]
	}
	once.Judge()
	if page := pageOf(t, around(1, *once)); !strings.Contains(page, "are of a single round") || !strings.Contains(page, "No comparison is lost") {
		t.Error("no warning about a single round")
	}
}

// What others wrote is shown, not obeyed.
func TestHostileText(t *testing.T) {
	const bad = `"><script>alert(1)</script><svg onload='x'>&$1`
	c := small()
	c.Workload, c.Name, c.Title, c.Note = bad, bad, bad, bad
	c.Rows[1].Contender = "sockdist" + bad
	c.Rows[1].Rounds[0].Error = bad
	c.Rows[2].Rounds[0].Series = []result.Point{{Second: 0, Values: map[string]float64{bad: 1}}, {Second: 1, Values: map[string]float64{bad: 2}}}
	c.Metrics[0].Title = bad
	c.Judge()
	r := around(5, *c)
	r.Machine = result.Machine{Kernel: bad, CPU: bad, Sysctls: map[string]string{bad: bad}, Versions: map[string]string{bad: bad}}
	r.Command = []string{bad}
	r.Contenders = append(r.Contenders, result.Contender{Name: bad, Title: bad, Commands: [][]string{{bad}}, Configs: []result.Config{{Name: bad, Text: bad}}})
	page := pageOf(t, r)
	if strings.Contains(page, "<script") || strings.Contains(page, "<svg onload") {
		at := max(strings.Index(page, "<script"), strings.Index(page, "<svg onload"))
		t.Errorf("not escaped: %s", page[max(0, at-200):at+50])
	}
}

// A page of nothing, of several runs, and of damaged parts.
func TestOddRuns(t *testing.T) {
	selfContained(t, pageOf(t))
	selfContained(t, pageOf(t, &result.Results{}))
	linked(t, pageOf(t, around(5, *small()), around(5, *small())))
	c := small()
	for i := range c.Rows {
		for j := range c.Rows[i].Rounds {
			c.Rows[i].Rounds[j].Histogram = []string{"", "!", "SElT", "HISTFAAAAAB", strings.Repeat("A", 400)}[j]
			c.Rows[i].Rounds[j].Series = []result.Point{{Second: 1}}
		}
	}
	empty := result.CaseResult{Workload: "none", Name: "none"}
	bare := result.CaseResult{Workload: "bare", Name: "bare", Metrics: []result.Metric{{Name: "p99"}}, Rows: []result.Row{{Contender: "sockdist-go"}, {Contender: "go-shared"}}}
	for _, c := range []*result.CaseResult{&empty, &bare} {
		c.Judge()
	}
	r := around(5, *c, empty, bare)
	selfContained(t, pageOf(t, r))
	var b bytes.Buffer
	if err := Markdown(&b, r); err != nil {
		t.Error(err)
	}
	tables(&b, r)
}

func TestHeatTables(t *testing.T) {
	var queue []*result.CaseResult
	r := made()
	for i := range r.Cases {
		if r.Cases[i].Workload == "queue" {
			queue = append(queue, &r.Cases[i])
		}
	}
	tables := heatTables(queue, "p99", newSides(r))
	if len(tables) != 4 {
		t.Fatalf("%d tables", len(tables))
	}
	for _, table := range tables {
		want := 16
		if table.Baseline == "node-shared" {
			want = 4
		}
		if len(table.Loads) != want {
			t.Errorf("%s workers, %s: %q", table.Workers, table.Baseline, table.Loads)
		}
		for _, row := range table.Rows {
			if len(row.Cells) != want || row.Contender == table.Baseline {
				t.Errorf("%s: %d cells", row.Contender, len(row.Cells))
			}
		}
	}
	if heatTables(queue[:few-1], "p99", newSides(r)) != nil || heatTables(append(queue, small()), "p99", newSides(r)) != nil {
		t.Error("a heat table of what has no coordinates")
	}
	if heat(1) != "background:rgba(224,49,49,0.00)" || heat(8) != "background:rgba(224,49,49,0.70)" || heat(0) != "background:rgba(47,158,68,0.70)" {
		t.Error(heat(1), heat(8), heat(0))
	}
}

func TestCommands(t *testing.T) {
	if got := command([]string{"A=1", "it's", "a b", "", "--x=y"}); got != `A=1 'it'\''s' 'a b' '' --x=y` {
		t.Error(got)
	}
}
