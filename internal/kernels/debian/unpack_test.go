package debian

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Packages as Debian builds them: up to 6.x in one, from 7.x in two.
func TestUnpack(t *testing.T) {
	files := map[string][]byte{
		"lib/modules/9.9-x/kernel/net/veth.ko":            moduleFileWith(t, ""),
		"lib/modules/9.9-x/kernel/net/ipv4/inet_diag.ko":  moduleFileWith(t, "base-part"),
		"lib/modules/9.9-x/kernel/net/ipv4/a_tcp_diag.ko": moduleFileWith(t, "inet_diag"),
		"lib/modules/9.9-x/kernel/base-part.ko":           moduleFileWith(t, ""),
		"lib/modules/9.9-x/kernel/unwanted.ko":            moduleFileWith(t, ""),
	}
	image := []byte("an image")
	wanted := []string{"veth", "a_tcp_diag", "built-in"}

	t.Run("one package", func(t *testing.T) {
		all := map[string][]byte{"boot/vmlinuz-9.9-x": image}
		for name, content := range files {
			all[name] = content
		}
		unpackedRight(t, wanted, deb(t, "one", all))
	})
	t.Run("two packages, below usr, packed modules", func(t *testing.T) {
		packed := map[string][]byte{}
		for name, content := range files {
			packed["usr/"+name+".xz"] = xz(t, content)
		}
		unpackedRight(t, wanted, deb(t, "modules", packed), deb(t, "binary", map[string][]byte{"usr/lib/modules/9.9-x/vmlinuz": image}))
	})
}

func unpackedRight(t *testing.T, wanted []string, debs ...string) {
	t.Helper()
	dir := t.TempDir()
	got, err := Unpack(t.Context(), debs, dir, wanted)
	check(t, err)
	if want := (Unpacked{"9.9-x", []string{"built_in"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("found %+v, want %+v", got, want)
	}
	image, err := os.ReadFile(filepath.Join(dir, ImageName))
	check(t, err)
	if string(image) != "an image" {
		t.Errorf("image %q", image)
	}
	entries, err := os.ReadDir(filepath.Join(dir, ModulesDir))
	check(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		content, err := os.ReadFile(filepath.Join(dir, ModulesDir, e.Name()))
		check(t, err)
		if !bytes.HasPrefix(content, []byte("\x7fELF")) {
			t.Errorf("%s is packed", e.Name())
		}
	}
	want := []string{"00-base_part.ko", "01-inet_diag.ko", "02-a_tcp_diag.ko", "03-veth.ko"}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("modules %v, want %v", names, want)
	}
}

func TestUnpackNothing(t *testing.T) {
	empty := deb(t, "empty", map[string][]byte{"usr/share/doc/x": nil})
	if _, err := Unpack(t.Context(), []string{empty}, t.TempDir(), []string{"veth"}); !errors.Is(err, ErrNoImage) {
		t.Errorf("error %v, want ErrNoImage", err)
	}
	broken := filepath.Join(t.TempDir(), "broken.deb")
	check(t, os.WriteFile(broken, []byte("not a package"), 0o644))
	if _, err := Unpack(t.Context(), []string{broken}, t.TempDir(), []string{"veth"}); err == nil || !strings.Contains(err.Error(), "broken.deb") {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestNotAModule(t *testing.T) {
	if _, err := needs([]byte("text")); err == nil {
		t.Error("text was taken for a module")
	}
}

// deb builds a package.
func deb(t *testing.T, name string, files map[string][]byte) string {
	t.Helper()
	tool, err := exec.LookPath("dpkg-deb")
	if err != nil {
		t.Skip("no dpkg-deb on this machine")
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "tree/DEBIAN/control"), []byte("Package: "+name+"\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody <nobody@mirror.test>\nDescription: x\n"))
	for name, content := range files {
		put(t, filepath.Join(dir, "tree", name), content)
	}
	file := filepath.Join(dir, name+".deb")
	if out, err := exec.Command(tool, "--build", "--root-owner-group", filepath.Join(dir, "tree"), file).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v: %s", err, out)
	}
	return file
}

func xz(t *testing.T, content []byte) []byte {
	t.Helper()
	tool, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("no xz on this machine")
	}
	cmd := exec.Command(tool, "-c")
	cmd.Stdin = bytes.NewReader(content)
	packed, err := cmd.Output()
	check(t, err)
	return packed
}

// moduleFileWith is the smallest ELF file that says what a module depends on: a
// header, two sections' content, and three section headers.
func moduleFileWith(t *testing.T, depends string) []byte {
	t.Helper()
	const header, section = 64, 64
	info := "license=GPL\x00depends=" + depends + "\x00name=x\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	type sectionHeader struct {
		Name, Type                uint32
		Flags, Addr, Offset, Size uint64
		Link, Info                uint32
		Align, EntrySize          uint64
	}
	var b bytes.Buffer
	write := func(v any) { check(t, binary.Write(&b, binary.LittleEndian, v)) }
	b.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	write([]uint16{1, 62})                                  // relocatable, x86-64
	write(uint32(1))                                        // version
	write([]uint64{0, 0, uint64(header + len(info+names))}) // entry, program headers, section headers
	write(uint32(0))
	write([]uint16{header, 0, 0, section, 3, 2})
	b.WriteString(info + names)
	write(sectionHeader{})
	write(sectionHeader{Name: 1, Type: 1, Offset: header, Size: uint64(len(info)), Align: 1})
	write(sectionHeader{Name: 10, Type: 3, Offset: uint64(header + len(info)), Size: uint64(len(names)), Align: 1})
	return b.Bytes()
}

func put(t *testing.T, name string, content []byte) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(name), 0o755))
	check(t, os.WriteFile(name, content, 0o644))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
