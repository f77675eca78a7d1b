package steering

import "strings"

// What to change in a server, by the name of its program as the kernel has it.

const runAdvice = "start it with sockdist run, which needs no change"

var shareAdvice = []struct{ comm, advice string }{
	{"nginx", "write `listen ADDRESS reuseport` in nginx.conf and restart it"},
	{"haproxy", "leave `noreuseport` out, write `shards by-thread` on the bind line and restart it"},
	{"envoy", "set enable_reuse_port: true on the listener"},
	{"gunicorn", "set reuse_port = True (gunicorn 23 or newer), or " + runAdvice},
	{"node", "server.listen({port, reusePort: true}) in Node 23.1 or newer, or " + runAdvice},
	{"MainThread", "server.listen({port, reusePort: true}) in Node 23.1 or newer, or " + runAdvice},
	{"python", "it has to set SO_REUSEPORT before bind (gunicorn: reuse_port = True; uvicorn has no such setting), or " + runAdvice},
	{"uvicorn", "uvicorn has no such setting: " + runAdvice},
}

const anyShareAdvice = "each worker has to bind a socket of its own with it: nginx `listen ADDRESS reuseport`; HAProxy `shards by-thread`; " +
	"Envoy enable_reuse_port; gunicorn reuse_port = True; Node 23.1 server.listen({port, reusePort: true}); " +
	"Go net.ListenConfig with a Control that sets SO_REUSEPORT; any other: " + runAdvice

// adviseShare tells how a server is made to share its port.
func adviseShare(comm string) string {
	for _, known := range shareAdvice {
		if strings.HasPrefix(comm, known.comm) {
			return known.advice
		}
	}
	return anyShareAdvice
}

const anyMPTCPAdvice = "have it listen with plain TCP: Go servers with GODEBUG=multipathtcp=0 in their environment, " +
	"or ListenConfig.SetMultipathTCP(false); nginx without the listen parameter `multipath`; others without mptcpize"

// adviseTCP tells how a server is kept from MPTCP.
func adviseTCP(comm string) string {
	if strings.HasPrefix(comm, "nginx") {
		return "leave the parameter `multipath` out of its listen line, or start it without mptcpize"
	}
	return anyMPTCPAdvice
}
