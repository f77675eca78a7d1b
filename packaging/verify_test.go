package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/kernels/guest"
	"github.com/sockdist/sockdist/internal/privilege"
)

// mostExposed is what docs/OPERATING.md says of the unit, on systemd's scale of
// 0 to 10. Versions of systemd differ by some tenths.
const mostExposed = 5.0

// instance writes the units as an operator would have them, and returns the
// folder.
func instance(t *testing.T) string {
	t.Helper()
	if kernel := os.Getenv(guest.Variable); kernel != "" {
		t.Skipf("the guest with kernel %s has no systemd", kernel)
	}
	texts, err := units()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range texts {
		// The pages and the program aren't installed here; any will do.
		text = strings.ReplaceAll(text, "/usr/bin/sockdist", "/bin/true")
		var lines []string
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "Documentation=") {
				lines = append(lines, line)
			}
		}
		text = strings.Join(lines, "")
		if strings.HasSuffix(name, "@.socket") {
			text = strings.Replace(text, "\n[Socket]\n", "\n[Socket]\nListenStream=3000\n", 1)
		}
		path := filepath.Join(dir, strings.Replace(name, "@.", "@web.", 1))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// systemd understands every line, and says nothing about any.
func TestUnitsAreValid(t *testing.T) {
	t.Parallel()
	analyze := privilege.Tool(t, "systemd-analyze")
	dir := instance(t)
	for _, name := range []string{unit, socket, daemonUnit, daemonSocket} {
		path := filepath.Join(dir, name)
		output, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
		var said []string
		for line := range strings.Lines(string(output)) {
			if strings.Contains(line, "sockdist@") || strings.Contains(line, "/sockdist.") { // the machine's own units are not our business
				said = append(said, line)
			}
		}
		if err != nil || len(said) > 0 {
			t.Errorf("systemd-analyze verify %s: %v\n%s", filepath.Base(path), err, output)
		}
	}
}

func TestUnitIsHardened(t *testing.T) {
	t.Parallel()
	analyze := privilege.Tool(t, "systemd-analyze")
	dir := instance(t)
	for _, name := range []string{unit, daemonUnit} {
		output, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", filepath.Join(dir, name)).CombinedOutput()
		// → Overall exposure level for sockdist@web.service: 4.8 OK
		_, after, found := strings.Cut(string(output), "Overall exposure level for "+name+": ")
		if err != nil || !found {
			t.Fatalf("systemd-analyze security: %v\n%s", err, output)
		}
		level, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		if level > mostExposed {
			t.Errorf("the exposure level of %s is %.1f, more than %.1f:\n%s", name, level, mostExposed, output)
		}
		t.Logf("exposure level %.1f", level)
	}
}
