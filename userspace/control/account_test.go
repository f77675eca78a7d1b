package control

import (
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
