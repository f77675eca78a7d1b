package debian

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// module is one kernel module; content is nil until it has been found.
type module struct {
	content []byte
	needs   []string
}

// moduleSet holds wanted modules by name, as the kernel writes it: with '_', not '-'.
type moduleSet map[string]*module

func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// want adds names; those that are in the set keep what is known of them.
func (s moduleSet) want(names []string) {
	for _, name := range names {
		if name = moduleName(name); s[name] == nil {
			s[name] = &module{}
		}
	}
}

// take keeps the file if it is a wanted module.
func (s moduleSet) take(ctx context.Context, file string, content io.Reader) error {
	match := moduleFile.FindStringSubmatch(file)
	if match == nil {
		return nil
	}
	m := s[moduleName(match[1])]
	if m == nil || m.content != nil {
		return nil
	}
	raw, err := decompress(ctx, match[2], content)
	if err != nil {
		return fmt.Errorf("unpack module %s: %w", file, err)
	}
	if m.needs, err = needs(raw); err != nil {
		return fmt.Errorf("read module %s: %w", file, err)
	}
	m.content = raw
	return nil
}

// lacking gives the names that modules of the set need and that aren't in it.
func (s moduleSet) lacking() []string {
	var names []string
	for _, m := range s {
		for _, need := range m.needs {
			if s[need] == nil {
				names = append(names, need)
			}
		}
	}
	return names
}

func (s moduleSet) missing() []string {
	var names []string
	for name, m := range s {
		if m.content == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// order gives the names of the found modules, each after those that it needs.
func (s moduleSet) order() []string {
	var names, all []string
	var visit func(string)
	visit = func(name string) {
		if m := s[name]; m != nil && m.content != nil && !slices.Contains(names, name) {
			for _, need := range m.needs {
				visit(need)
			}
			names = append(names, name)
		}
	}
	for name := range s {
		all = append(all, name)
	}
	slices.Sort(all)
	for _, name := range all {
		visit(name)
	}
	return names
}

func (s moduleSet) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder for modules: %w", err)
	}
	for i, name := range s.order() {
		file := filepath.Join(dir, fmt.Sprintf("%02d-%s.ko", i, name))
		if err := os.WriteFile(file, s[name].content, 0o644); err != nil {
			return fmt.Errorf("keep module %s: %w", name, err)
		}
	}
	return nil
}

// decompress reads content through the tool that its file name's ending asks for.
func decompress(ctx context.Context, ending string, content io.Reader) ([]byte, error) {
	tool := map[string]string{".xz": "xz", ".zst": "zstd"}[ending]
	if tool == "" {
		return io.ReadAll(content)
	}
	cmd := command(ctx, tool, "-dc")
	cmd.Stdin = content
	raw, err := output(cmd)
	return []byte(raw), err
}

// needs reads the names of the modules that a module says it depends on.
func needs(raw []byte) ([]string, error) {
	file, err := elf.NewFile(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	section := file.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no section .modinfo: not a kernel module")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var names []string
	for entry := range strings.SplitSeq(string(info), "\x00") {
		if list, found := strings.CutPrefix(entry, "depends="); found && list != "" {
			for name := range strings.SplitSeq(list, ",") {
				names = append(names, moduleName(name))
			}
		}
	}
	return names, nil
}
