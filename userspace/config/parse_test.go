package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// example is what people copy.
const example = "../../packaging/sockdist.yaml"

func TestExample(t *testing.T) {
	f, err := Load(example)
	if err != nil {
		t.Fatal(err)
	}
	apps, groups, attach := f.Names()
	if !slices.Equal(apps, []string{"web", "images"}) || !slices.Equal(groups, []string{"api"}) || !slices.Equal(attach, []string{"nginx"}) {
		t.Errorf("apps %v, groups %v, attach %v", apps, groups, attach)
	}
	web := DefaultRun()
	web.Command, web.Workers, web.Ports, web.User = []string{"node", "/srv/web/app.js"}, "4", []string{"3000"}, "www-data"
	web.Env, web.Ready, web.MemoryMax = []string{"NODE_ENV=production"}, "http://localhost:3000/health", "400M"
	web.HangAfter = 500 * time.Millisecond
	if !reflect.DeepEqual(f.Apps[0].Run, web) {
		t.Errorf("web is %+v, want %+v", f.Apps[0].Run, web)
	}
	api := f.Groups[0]
	if api.Listen != netip.MustParseAddrPort("127.0.0.1:8080") || api.Slots != 64 || api.HangAfter != 500*time.Millisecond || len(api.UIDs) != 1 || api.Activation != "api" {
		t.Errorf("api is %+v", api)
	}
	if f.Attach[0].Address != (sockets.Address{Port: 443}) || *f.Attach[0].Policy != loader.Least {
		t.Errorf("nginx is %+v", f.Attach[0])
	}
	if f.Socket.Path != "/run/sockdist/control" || f.Socket.UID != 0 || f.Socket.Mode != 0o660 || len(f.Operators.UIDs) != 1 {
		t.Errorf("socket %+v, operators %+v", f.Socket, f.Operators)
	}
}

// What is left out has the value that the flag of run has.
func TestDefaults(t *testing.T) {
	f, err := Parse("f", []byte("apps: {a: {command: [sh]}}\ngroups: {g: {listen: \":80\"}}\nattach: {n: {address: \":81\"}}"))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultRun()
	want.Command = []string{"sh"}
	if !reflect.DeepEqual(f.Apps[0].Run, want) || f.Apps[0].Activation != "a" {
		t.Errorf("%+v", f.Apps[0])
	}
	if g := f.Groups[0]; g.Listen != netip.MustParseAddrPort("[::]:80") || g.V6Only || g.Slots != DefaultSlots || g.Policy != loader.Least || g.HangAfter == 0 {
		t.Errorf("%+v", g)
	}
	if f.Attach[0].Policy != nil || f.Socket != (Socket{Mode: 0o660, UID: -1, GID: -1}) || f.SocketPath("/run/x") != "/run/x/control" {
		t.Errorf("%+v", f)
	}
}

func TestListenAddresses(t *testing.T) {
	for _, c := range []struct {
		text, want string
		v6only     bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", false},
		{":80", "[::]:80", false},
		{"[::]:80", "[::]:80", false},
		{"tcp6://:80", "[::]:80", true},
		{"tcp4://:80", "0.0.0.0:80", false},
		{"[::1]:80", "[::1]:80", false},
	} {
		f, err := Parse("f", []byte("groups: {g: {listen: \""+c.text+"\"}}"))
		if err != nil {
			t.Error(err)
			continue
		}
		if g := f.Groups[0]; g.Listen.String() != c.want || g.V6Only != c.v6only {
			t.Errorf("%s: %v, IPv6 alone: %v", c.text, g.Listen, g.V6Only)
		}
	}
}

// Each text has the problems below it, all of them, in the order of the file.
func TestProblems(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "f: the file is empty: name something under apps, groups or attach"},
		{"# nothing\n", "f: the file is empty: name something under apps, groups or attach"},
		{"apps: {}", "f: there is nothing to do: name something under apps, groups or attach"},
		{"hello", "f:1:1: must be a mapping (NAME: VALUE), and is text"},
		{"- a", "f:1:1: must be a mapping (NAME: VALUE), and is a list"},
		{"apps:", "f:1:1: apps: has no value: give it one, or leave it out"},
		{"\xff", "f: the file is not UTF-8"},
		{"apps: {a: {command: [sh]}}\n---\napps: {}", "f:3:*: a second document begins here: a file has one"},
		{"apps:\n  a: {command: [sh]\n", "f:2:6: could not find flow mapping end token '}'"},
		{strings.Repeat("[", 100_000), "f:1:1: brackets are nested deeper than 32: nothing here needs that"},
		{"a:\n" + strings.Repeat("- ", 100_000) + "x", "f:2:1: brackets are nested deeper than 32: nothing here needs that"},
		{strings.Repeat("#\n", MostBytes), "f: the file has more than 256 KiB: no configuration needs that much"},

		{"aps: {a: {command: [sh]}}", "f:1:1: aps: there is no such key; did you mean apps?"},
		{"apps: {a: {command: [sh], worker: 2}}", "f:1:27: apps.a.worker: there is no such key; did you mean workers?"},
		{"apps: {a: {command: [sh], hang_after: 2s}}", "f:1:27: apps.a.hang_after: there is no such key; did you mean hang-after?"},
		{"attach: {a: {address: \":1\", colour: red}}", "f:1:29: attach.a.colour: there is no such key; take one of address, netns, pids, policy"},
		{"apps: {a: &x {command: [sh]}, b: *x}", "f:1:8: apps.a: must be a mapping (NAME: VALUE), and is an anchor or alias, which aren't taken here: write it out\n" +
			"f:1:31: apps.b: must be a mapping (NAME: VALUE), and is an anchor or alias, which aren't taken here: write it out"},
		{"apps:\n  a:\n    <<: {command: [sh]}\n    command: [sh]", "f:3:5: apps.a: a key must be plain text, and this one is an anchor or alias, which aren't taken here: write it out"},
		{"apps: {a: {command: [sh], user: !!str root}}", "f:1:33: apps.a.user: must be text or a number, and is a tag, which isn't taken here"},
		{"apps: {a: {command: [sh]}, a: {command: [sh]}}", "f:1:28: apps.a: is here for the second time, the first is on line 1: leave one of them out"},

		{"apps: {a: {workers: 2}}", "f:1:8: apps.a: has no command: say what to run, such as command: [node, /srv/app.js]"},
		{"apps: {a: {command: sh}}", "f:1:21: apps.a.command: must be a list, such as [node, /srv/app.js], and is text"},
		{"apps: {a: {command: []}}", "f:1:12: apps.a.command: is empty: say what to run, such as [node, /srv/app.js]"},
		{"apps: {a: {command: [\"\"]}}", "f:1:22: apps.a.command[0]: is empty: name a program"},
		{"apps: {a: {command: [sh, \"a\\0b\"]}}", "f:1:26: apps.a.command[1]: has a zero byte in it, which no program can get"},
		{"apps: {a: {command: [sh], workers: 0, policy: fastest}}", "f:1:36: apps.a.workers: 0: must be auto or 1 to 256\n" +
			"f:1:47: apps.a.policy: policy \"fastest\": use one of least, p2c, rr, random, hash"},
		{"apps: {a: {command: [sh], workers: 257}}", "f:1:36: apps.a.workers: 257: must be auto or 1 to 256"},
		{"apps: {a: {command: [sh], ports: [0, 65536, \"80\"]}}", "f:1:35: apps.a.ports[0]: 0: must be 1 to 65535\n" +
			"f:1:38: apps.a.ports[1]: 65536: must be 1 to 65535\nf:1:45: apps.a.ports[2]: must be a whole number, and is text"},
		{"apps: {a: {command: [sh], ports: [80, 80]}}", "f:1:8: apps.a: port 80 is listed twice"},
		{"apps: {a: {command: [sh], pin: 1, udp: yes}}", "f:1:32: apps.a.pin: must be true or false, and is a number\n" +
			"f:1:40: apps.a.udp: must be true or false, and is text"},
		{"apps: {a: {command: [sh], user: no-such-user}}", "f:1:33: apps.a.user: no user \"no-such-user\" on this machine: take one of /etc/passwd, or UID:GID"},
		{"apps: {a: {command: [sh], grace: 5, hang-after: -1s, ready-timeout: 0s}}", "f:1:34: apps.a.grace: \"5\" is no time: write a number with its unit, such as 500ms, 30s or 2m\n" +
			"f:1:49: apps.a.hang-after: -1s: must be at least 0s\nf:1:69: apps.a.ready-timeout: 0s: must be at least 1ms"},
		{"apps: {a: {command: [sh], on-hang: kill, log: xml, ready: nowhere}}", "f:1:36: apps.a.on-hang: kill: must be restart, eject or ignore\n" +
			"f:1:47: apps.a.log: \"xml\" is no format of the output: take plain, prefix or json\n" +
			"f:1:59: apps.a.ready: \"nowhere\" is nothing to ask a worker: write a URL such as http://localhost:8080/health, or a path"},
		{"apps: {a: {command: [sh], memory-max: 1Q, scale-at: 0}}", "f:1:39: apps.a.memory-max: 1Q: \"1Q\" is not a size: write a number and K, M, G or T, such as 200M or 1.5G\n" +
			"f:1:53: apps.a.scale-at: 0: \"0\" is *"},
		{"apps: {a: {command: [sh], min: 1}}", "f:1:32: apps.a.min: is for an app that scales by itself: say at which load (scale-at), or leave it out"},
		{"apps: {a: {command: [sh], scale-at: 9, min: 3, max: 2}}", "f:1:45: apps.a.min: 3 is more than max, which is 2"},
		{"apps: {a: {command: [sh], env: {A: true, B: 1, C: x}}}", "f:1:36: apps.a.env.A: must be text or a number, and is true or false"},
		{"apps: {a: {command: [sh], env: [A]}}", "f:1:27: apps.a.env: \"A\": write NAME=VALUE"},
		{"apps: {a.b: {command: [sh]}}", "f:1:8: apps.\"a.b\": name \"a.b\": '.' is not allowed, use letters, digits, '-', '_' or ':'"},
		{"apps: {-a: {command: [sh]}}", "f:1:8: apps.-a: \"-a\" can't be the name of an app: take 1 to 63 letters, digits, '-', '_' and ':', starting with a letter, a digit or '_'"},
		{"apps: {control: {command: [sh]}}", "f:1:8: apps.control: an app's folder of this name is where the daemon's socket is: take another name, or another path for the socket"},

		{"groups: {g: {slots: 3}}", "f:1:10: groups.g: has no address: say where its workers listen, such as listen: 127.0.0.1:8080"},
		{"groups: {g: {listen: \":80\", slots: 0, hang-after: -1s}}", "f:1:36: groups.g.slots: 0: must be 1 to 255\nf:1:51: groups.g.hang-after: -1s: must be at least 0s"},
		{"groups: {g: {listen: \":80\", slots: 256}}", "f:1:36: groups.g.slots: 256: must be 1 to 255"},
		{"groups: {g: {listen: \"localhost:80\"}}", "f:1:22: groups.g.listen: \"localhost:80\" is not an address to listen on: localhost is no IP address, and names are not looked up, write such as 127.0.0.1:80"},
		{"groups: {g: {listen: \":80\", users: [no-such-user], groups: [no-such-group]}}", "f:1:37: groups.g.users[0]: there is no user \"no-such-user\" on this machine: take one of /etc/passwd, or a number\n" +
			"f:1:61: groups.g.groups[0]: there is no group \"no-such-group\" on this machine: take one of /etc/group, or a number"},
		{"attach: {n: {address: 443}}", "f:1:23: attach.n.address: must be text, and is a number: put it in quotes"},
		{"attach: {n: {}}", "f:1:10: attach.n: has no address: say where the server listens, such as address: \":443\""},
		{"socket: {mode: 1000, path: x, owner: no-such-user}\nattach: {n: {address: \":1\"}}", "f:1:16: socket.mode: 1000: must be octal, such as \"0660\"\n" +
			"f:1:28: socket.path: \"x\": must begin with /\nf:1:38: socket.owner: there is no user \"no-such-user\" on this machine: take one of /etc/passwd, or a number"},
		{"operators: {users: root}\nattach: {n: {address: \":1\"}}", "f:1:20: operators.users: must be a list, such as [alice], and is text"},

		{"apps:\n  x: {command: [sh]}\ngroups:\n  x: {listen: \":1\"}", "f:4:3: groups.x: the name x is that of apps.x already (line 2): names are for all sections together"},
		{"apps:\n  x: {command: [sh], ports: [80]}\ngroups:\n  x-80: {listen: \":1\"}", "f:4:3: groups.x-80: the name x-80 is that of apps.x already (line 2): names are for all sections together"},
		{"groups:\n  x-v6: {listen: \":1\"}\nattach:\n  x: {address: \":2\"}", "f:4:3: attach.x: the name x-v6 is that of groups.x-v6 already (line 2): names are for all sections together"},
		{"apps:\n  x: {command: [sh], ports: [80]}\n  y: {command: [sh], ports: [79, 80]}", "f:3:3: apps.y: apps.x has port 80 of the same address already (line 2): leave one of them out"},
		{"apps:\n  x: {command: [sh], ports: [80]}\ngroups:\n  g: {listen: \"127.0.0.1:80\"}", "f:4:3: groups.g: apps.x has port 80 of the same address already (line 2): leave one of them out"},
		{"groups:\n  g: {listen: \":80\"}\n  h: {listen: \"0.0.0.0:80\"}", "f:3:3: groups.h: groups.g has port 80 of the same address already (line 2): leave one of them out"},
		{"groups:\n  g: {listen: \"[::]:80\"}\nattach:\n  h: {address: \":80\"}", "f:4:3: attach.h: groups.g has port 80 of the same address already (line 2): leave one of them out"},
	} {
		f, err := Parse("f", []byte(c.text))
		var problems Problems
		if !errors.As(err, &problems) || f != nil {
			t.Errorf("%.60q: error %v, want problems", c.text, err)
			continue
		}
		if !matches(err.Error(), c.want) {
			t.Errorf("%.60q:\ngot  %s\nwant %s", c.text, err, c.want)
		}
	}
}

// matches compares; a * in what is wanted stands for anything.
func matches(text, want string) bool {
	for i, part := range strings.Split(want, "*") {
		at := strings.Index(text, part)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return text == "" || strings.HasSuffix(want, "*")
}

// What is together in these is no contradiction.
func TestNoConflict(t *testing.T) {
	for _, text := range []string{
		"groups: {g: {listen: \"127.0.0.1:80\"}, h: {listen: \"127.0.0.2:80\"}, i: {listen: \":80\"}}",
		"groups: {g: {listen: \"tcp4://:80\"}, h: {listen: \"tcp6://:80\"}}",
		"attach: {g: {address: \":80\"}, h: {address: \":80\", netns: blue}}",
		"apps: {a: {command: [sh]}, b: {command: [sh]}}",
		"apps: {a: {command: [sh, 1, 0x10], env: [A=b, C=], hang-after: 0, workers: auto, scale-at: 80%, min: 2, max: 3}}",
		"socket: {path: /x}\napps: {control: {command: [sh]}}",
		"socket: {mode: 0600, owner: 12345, group: 12345}\napps: {123: {command: [sh], user: 12345:12345}}",
	} {
		if _, err := Parse("f", []byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestLoadNothing(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
