package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/capabilities"
)

const securityDocument = "../../docs/SECURITY.md"

func readDocument(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(securityDocument)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rowsOfVerbs are the lines of the document's table of verbs, in the order of the help.
func rowsOfVerbs() (rows []string) {
	for _, verb := range slices.Sorted(maps.Keys(rightsOf)) {
		if len(rightsOf[verb]) == 0 {
			rows = append(rows, fmt.Sprintf("| `%s` | none | | |", verb))
		}
		for _, l := range linesOfRights(verb) {
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |", verb, strings.Join(l.names, ", "), orElse(string(l.when), "always"),
				orElse(l.without, "exit code 3")))
		}
	}
	return rows
}

func orElse(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}

// rowsOfCapabilities say what for.
func rowsOfCapabilities() (rows []string) {
	for _, c := range wantedCapabilities() {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |", c.Capability, c.why, c.verbs))
	}
	return rows
}

func TestSecurityDocument(t *testing.T) {
	text := readDocument(t)
	for name, rows := range map[string][]string{"verbs": rowsOfVerbs(), "capabilities": rowsOfCapabilities()} {
		_, table, found := strings.Cut(text, "<!-- table of "+name+" -->\n")
		table, _, ended := strings.Cut(table, "\n\n")
		if !found || !ended {
			t.Errorf("%s has no table of %s", securityDocument, name)
			continue
		}
		_, table, _ = strings.Cut(table, "|---|\n")
		if want := strings.Join(rows, "\n"); table != want {
			t.Errorf("the table of %s in %s should be\n%s", name, securityDocument, want)
		}
	}
}

// Each test that the document names is there.
func TestSecurityDocumentNamesTests(t *testing.T) {
	there := make(map[string]bool)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil // somebody is writing it
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				there[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`").FindAllStringSubmatch(readDocument(t), -1)
	if len(named) < 20 {
		t.Errorf("it names %d tests", len(named))
	}
	for _, name := range named {
		if !there[name[1]] {
			t.Errorf("there is no %s", name[1])
		}
	}
}

// Whatever the help lists has its line in the table.
func TestEveryVerbHasRights(t *testing.T) {
	for _, verb := range visible(newRoot(testEnvironment())) {
		if _, ok := rightsOf[verb.Name()]; !ok {
			t.Errorf("nothing is said on the capabilities of %s", verb.Name())
		}
	}
	for verb, all := range rightsOf {
		for _, r := range all {
			for _, n := range r.work.Needs() {
				if n.Capability.String() == "" || !capabilities.All().Has(n.Capability) {
					t.Errorf("%s: %v", verb, n)
				}
			}
		}
	}
}

// The units give what the verbs need, in all of their situations but those that
// an operator adds for himself.
func TestUnitsGiveWhatIsNeeded(t *testing.T) {
	for unit, wanted := range map[string][]capabilities.Capability{
		"sockdist@.service": needs("run", withUser),
		"sockdist.service":  needs("serve", withApps, withUser, withGroups, withLowPorts, withOwner),
	} {
		text, err := os.ReadFile("../../packaging/systemd/" + unit)
		if err != nil {
			t.Fatal(err)
		}
		var given []string
		for line := range strings.Lines(string(text)) {
			if set, found := strings.CutPrefix(line, "CapabilityBoundingSet="); found {
				given = append(given, strings.Fields(set)...)
			}
		}
		for _, c := range wanted {
			if !slices.Contains(given, c.String()) {
				t.Errorf("%s lacks %s", unit, c)
			}
		}
	}
}
