package result

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// slow is how long a program may take to tell its version.
const slow = 5 * time.Second

// programs are asked for what they are; "" if they aren't there.
var programs = map[string]func() string{
	"node":     saying("node", "--version"),
	"pm2":      packed("pm2"),
	"nginx":    saying("nginx", "-v"),
	"haproxy":  saying("haproxy", "-v"),
	"gunicorn": saying("gunicorn", "--version"),
	"uvicorn":  saying("uvicorn", "--version"),
	"python3":  saying("python3", "--version"),
	"go":       runtime.Version,
	"sockdist": revision,
	"system":   system,
}

// saying is the first line of what a program says, to whom ever.
func saying(program string, args ...string) func() string {
	return func() string {
		ctx, cancel := context.WithTimeout(context.Background(), slow)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.WaitDelay = time.Second // children may keep the pipe
		text, err := cmd.CombinedOutput()
		if err != nil {
			return ""
		}
		first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		return strings.TrimSpace(first)
	}
}

// packed is the version of a program from npm, by its package.json: PM2, asked
// itself, may leave a daemon behind. make deps installs it below bench.
func packed(program string) func() string {
	return func() string {
		path, err := exec.LookPath(program)
		if err != nil {
			path = filepath.Join("bench", "peers", "node", "node_modules", ".bin", program)
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return ""
		}
		text, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "..", "package.json"))
		var about struct {
			Version string `json:"version"`
		}
		_ = json.Unmarshal(text, &about) // or no version
		return about.Version
	}
}

// revision is sockdist's own, as git knows it: by the folder at hand, else by
// what the command was built from.
func revision() string {
	if said := saying("git", "describe", "--always", "--dirty", "--abbrev=12")(); said != "" {
		return said
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["vcs.modified"] == "true" {
		return settings["vcs.revision"] + "-dirty"
	}
	return settings["vcs.revision"]
}

// Modules are the versions of modules, by their paths, that a Go program was
// built with; those that aren't in it are left out.
func Modules(binary string, paths ...string) map[string]string {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return map[string]string{} // it isn't there, or no Go program
	}
	return among(info.Deps, paths)
}

// among are the versions of some modules, whatever the major one in their path.
func among(deps []*debug.Module, paths []string) map[string]string {
	found := map[string]string{}
	for _, dep := range deps {
		for _, path := range paths {
			if dep.Path == path || strings.HasPrefix(dep.Path, path+"/v") {
				found[path] = dep.Version
			}
		}
	}
	return found
}
