package control

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFindAccount(t *testing.T) {
	for text, want := range map[string]account{
		"root":               {uid: 0, gid: 0, name: "root", home: "/root"},
		"0":                  {uid: 0, gid: 0, name: "root", home: "/root"},
		"root:7":             {uid: 0, gid: 7, name: "root", home: "/root"},
		"nobody:root":        {uid: 65534, gid: 0, name: "nobody", home: "/nonexistent"},
		"4123456789:65533":   {uid: 4123456789, gid: 65533},
		"4123456789:nogroup": {uid: 4123456789, gid: 65534},
	} {
		got, err := findAccount(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got.uid != want.uid || got.gid != want.gid || got.name != want.name || got.home != want.home {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
	for _, text := range []string{
		"", ":", "no such user", "no such user:root", "root:no such group", "root:", "4123456789", "-1:0", "99999999999:0",
	} {
		if got, err := findAccount(text); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

func TestCanPass(t *testing.T) {
	base, err := os.MkdirTemp("", "pass")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	folder := filepath.Join(base, "within")
	if err := os.Mkdir(folder, 0o711); err != nil {
		t.Fatal(err)
	}
	other := &account{uid: 4123456789, gid: 4123456788, groups: []uint32{uint32(os.Getegid())}}
	stranger := &account{uid: 4123456789, gid: 4123456788}
	for _, c := range []struct {
		mode            os.FileMode
		other, stranger bool
	}{{0o700, false, false}, {0o710, true, false}, {0o701, false, true}, {0o711, true, true}} {
		if err := os.Chmod(base, c.mode); err != nil {
			t.Fatal(err)
		}
		if other.canPass(folder) != c.other || stranger.canPass(folder) != c.stranger {
			t.Errorf("mode %v: of the group %v, of none %v", c.mode, other.canPass(folder), stranger.canPass(folder))
		}
		if !(*account)(nil).canPass(folder) || !(&account{}).canPass(folder) {
			t.Errorf("mode %v stops ourselves, or root", c.mode)
		}
	}
	if stranger.canPass(filepath.Join(folder, "absent")) {
		t.Error("a folder that isn't there can be passed")
	}
}
