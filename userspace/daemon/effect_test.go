package daemon

import (
	"reflect"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/userspace/config"
)

// Every setting has an effect, and every effect is that of a setting.
func TestEffects(t *testing.T) {
	run := reflect.TypeFor[config.Run]()
	keys := map[string]bool{"activation": true}
	for i := range run.NumField() {
		key, _, _ := strings.Cut(run.Field(i).Tag.Get("json"), ",")
		keys[key] = true
		if effects[key] == 0 {
			t.Errorf("a changed %s has no effect", key)
		}
	}
	for key := range effects {
		if !keys[key] {
			t.Errorf("%s is no setting", key)
		}
	}
}

func TestCompareApps(t *testing.T) {
	from := config.App{Name: "a", Run: config.DefaultRun(), Activation: "a"}
	from.Command = []string{"sh"}
	for _, c := range []struct {
		change func(*config.App)
		words  string
		want   effect
		what   string
	}{
		{func(a *config.App) { a.Line = 7 }, "", 0, ""},
		{func(a *config.App) { a.Command = []string{"sh"} }, "", 0, ""},
		{func(a *config.App) { a.Command = []string{"sh", "x"} }, "command", reload, "its workers are replaced one after the other"},
		{func(a *config.App) { a.Grace++ }, "grace", replace, "its workers stay"},
		{func(a *config.App) { a.Workers, a.Policy = "2", "rr" }, "workers, policy", scale | policy, "it is scaled, its groups get the policy"},
		{func(a *config.App) { a.Workers, a.ScaleAt = "2", "50%" }, "workers, scale-at", scale | replace, "its workers stay, it is scaled"},
		{func(a *config.App) { a.Ports, a.Grace = []string{"80"}, 1 }, "ports, grace", restart | replace, "it ends and starts anew, its port is closed meanwhile"},
		{func(a *config.App) { a.Activation = "b" }, "activation", restart, "it ends and starts anew, its port is closed meanwhile"},
	} {
		to := from
		c.change(&to)
		d := compareApps(from, to)
		if d.words() != c.words || d.effects != c.want || d.what() != c.what {
			t.Errorf("%q: effects %b, %q; want %q: %b, %q", d.words(), d.effects, d.what(), c.words, c.want, c.what)
		}
	}
}
