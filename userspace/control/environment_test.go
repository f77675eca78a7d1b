package control

import (
	"slices"
	"strings"
	"testing"
)

func TestWorkerEnvironment(t *testing.T) {
	cases := []struct {
		name              string
		inherited, wanted []string
		who               *account
		want              []string
	}{
		{
			name: "nothing",
			want: []string{"SOCKDIST_SLOT=2", "SOCKDIST_WORKERS=4", "GOMAXPROCS=1", "GODEBUG=multipathtcp=0"},
		}, {
			name:      "inherited stays",
			inherited: []string{"PATH=/bin", "GOMAXPROCS=8", "GODEBUG=gctrace=1"},
			want: []string{
				"PATH=/bin", "GOMAXPROCS=8", "GODEBUG=gctrace=1,multipathtcp=0", "SOCKDIST_SLOT=2", "SOCKDIST_WORKERS=4",
			},
		}, {
			name:      "a user who wants MPTCP",
			inherited: []string{"GODEBUG=multipathtcp=1,gctrace=1"},
			want:      []string{"GODEBUG=multipathtcp=1,gctrace=1", "SOCKDIST_SLOT=2", "SOCKDIST_WORKERS=4", "GOMAXPROCS=1"},
		}, {
			name:      "--env comes last",
			inherited: []string{"A=1", "GODEBUG=multipathtcp=1"},
			wanted:    []string{"A=2", "B=x=y", "SOCKDIST_SLOT=9", "GOMAXPROCS=2", "GODEBUG=", "A=3"},
			want:      []string{"A=3", "GODEBUG=multipathtcp=0", "SOCKDIST_SLOT=9", "SOCKDIST_WORKERS=4", "B=x=y", "GOMAXPROCS=2"},
		}, {
			name:      "one value each",
			inherited: []string{"A=1", "A=2", "nonsense"},
			want:      []string{"A=2", "SOCKDIST_SLOT=2", "SOCKDIST_WORKERS=4", "GOMAXPROCS=1", "GODEBUG=multipathtcp=0"},
		}, {
			name:      "another user",
			inherited: []string{"HOME=/root", "USER=root"},
			who:       &account{name: "www-data", home: "/var/www"},
			want: []string{
				"HOME=/var/www", "USER=www-data", "LOGNAME=www-data",
				"SOCKDIST_SLOT=2", "SOCKDIST_WORKERS=4", "GOMAXPROCS=1", "GODEBUG=multipathtcp=0",
			},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := workerEnvironment(c.inherited, c.wanted, 2, 4, c.who); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestCheckAssignments(t *testing.T) {
	if err := checkAssignments([]string{"A=", "A=b=c", "a.b=c"}); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "A", "=b", "A=\x00"} {
		if checkAssignments([]string{bad}) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func FuzzWithoutMPTCP(f *testing.F) {
	for _, seed := range []string{"", "gctrace=1", "multipathtcp=1", "a=multipathtcp,b", ",,", "multipathtcp"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, settings string) {
		got := withoutMPTCP(settings)
		if !strings.HasPrefix(got, settings) {
			t.Errorf("%q became %q", settings, got)
		}
		if again := withoutMPTCP(got); again != got {
			t.Errorf("%q became %q, and that %q", settings, got, again)
		}
	})
}
