package debian

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// Package is one binary package in one version.
type Package struct {
	Name    string
	Version string
	Depends []string // names alone, the first of each choice
}

// kernelPart matches the packages that a kernel is spread over. Up to 6.x
// linux-image has all of it; from 7.x it depends on linux-binary and linux-modules.
var kernelPart = regexp.MustCompile(`^linux-(image|binary|modules)-`)

// Kernel finds what a kernel's meta package leads to: the meta package itself,
// and the packages that its image and its modules may be in.
func (x *Index) Kernel(ctx context.Context, meta string) (Package, []Package, error) {
	first, err := x.Package(ctx, meta)
	if err != nil {
		return Package{}, nil, err
	}
	var parts []Package
	seen := map[string]bool{meta: true}
	for todo := first.Depends; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		if seen[name] || !kernelPart.MatchString(name) {
			continue
		}
		seen[name] = true
		p, err := x.Package(ctx, name)
		if err != nil {
			return Package{}, nil, fmt.Errorf("what %s needs: %w", meta, err)
		}
		parts = append(parts, p)
		todo = append(todo, p.Depends...)
	}
	if len(parts) == 0 {
		return Package{}, nil, fmt.Errorf("%s %s depends on no kernel image: %w", meta, first.Version, ErrNoPackage)
	}
	return first, parts, nil
}

// parsePackage reads the first paragraph of apt-cache's output.
func parsePackage(text string) (Package, error) {
	var p Package
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			break
		}
		// A line that goes on begins with a blank, and so matches no key.
		switch key, value, _ := strings.Cut(line, ": "); key {
		case "Package":
			p.Name = value
		case "Version":
			p.Version = value
		case "Depends":
			p.Depends = dependencies(value)
		}
	}
	if p.Name == "" || p.Version == "" {
		return p, fmt.Errorf("apt-cache's %q names no package and version", firstLine(text))
	}
	return p, nil
}

func dependencies(field string) []string {
	var names []string
	for part := range strings.SplitSeq(field, ",") {
		if words := strings.Fields(part); len(words) > 0 {
			name, _, _ := strings.Cut(words[0], ":")
			names = append(names, name)
		}
	}
	return names
}
