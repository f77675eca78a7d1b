package attachment

import (
	"debug/buildinfo"
	"fmt"
	"strings"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// What to change in a server, by its program.

const runAdvice = "start it with sockdist run, which needs no change"

const goProgram = "a Go program"

var shareAdvice = []struct{ program, advice string }{
	{"nginx", "write `listen ADDRESS reuseport` in nginx.conf and restart it"},
	{"haproxy", "leave `noreuseport` out of its global section, write `shards by-thread` on the bind line and restart it"},
	{"envoy", "set enable_reuse_port: true on the listener"},
	{"gunicorn", "set reuse_port = True (gunicorn 23 or newer), or " + runAdvice},
	{"node", "server.listen({port, reusePort: true}) in Node 23.1 or newer, or " + runAdvice},
	{"uvicorn", "uvicorn has no setting for it: " + runAdvice},
	{"python", "it has to set SO_REUSEPORT before bind (gunicorn: reuse_port = True; uvicorn has no setting for it), or " + runAdvice},
	{goProgram, "listen through a net.ListenConfig whose Control sets SO_REUSEPORT, in each worker, or " + runAdvice},
}

const anyShareAdvice = "each worker has to bind a socket of its own with it: nginx `listen ADDRESS reuseport`; HAProxy `shards by-thread`; " +
	"Envoy enable_reuse_port; gunicorn reuse_port = True; Node 23.1 server.listen({port, reusePort: true}); any other: " + runAdvice

// adviseShare tells how a server is made to share its port.
func adviseShare(server sockets.Holder) string {
	if advice := adviseShareOf(programOf(server)); advice != "" {
		return advice
	}
	if isGo(server.PID) {
		return adviseShareOf(goProgram)
	}
	return anyShareAdvice
}

func adviseShareOf(program string) string {
	for _, known := range shareAdvice {
		if strings.HasPrefix(program, known.program) {
			return known.advice
		}
	}
	return ""
}

const goTCPAdvice = "start it with GODEBUG=multipathtcp=0 in its environment, or listen through a net.ListenConfig with SetMultipathTCP(false)"

// adviseTCP tells how a server is kept from MPTCP.
func adviseTCP(server sockets.Holder) string {
	switch {
	case strings.HasPrefix(programOf(server), "nginx"):
		return "leave the parameter `multipath` out of its listen line, or start it without mptcpize"
	case isGo(server.PID):
		return goTCPAdvice
	}
	return "have it listen with plain TCP: Go servers with GODEBUG=multipathtcp=0 in their environment, " +
		"nginx without the listen parameter `multipath`, others without mptcpize"
}

// isGo tells whether the program of a process was built by Go, which listens
// with MPTCP unless told not to.
func isGo(pid int) bool {
	_, err := buildinfo.ReadFile(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil
}
