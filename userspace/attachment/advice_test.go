package attachment

import (
	"os"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/userspace/sockets"
)

func TestAdvice(t *testing.T) {
	const noProcess = 1 << 30
	for comm, want := range map[string]string{
		"nginx": "nginx.conf", "haproxy": "shards by-thread", "envoy": "enable_reuse_port", "gunicorn: maste": "reuse_port = True",
		"node": "reusePort: true", "python3.13": "gunicorn", "uvicorn": "no setting",
		"other": "nginx `listen ADDRESS reuseport`; HAProxy `shards by-thread`; Envoy enable_reuse_port; gunicorn reuse_port = True",
	} {
		if got := adviseShare(sockets.Holder{PID: noProcess, Comm: comm}); !strings.Contains(got, want) {
			t.Errorf("%s: %s", comm, got)
		}
	}
	for comm, want := range map[string]string{"nginx": "`multipath`", "other": "mptcpize"} {
		if got := adviseTCP(sockets.Holder{PID: noProcess, Comm: comm}); !strings.Contains(got, want) {
			t.Errorf("%s: %s", comm, got)
		}
	}
	if !isGo(os.Getpid()) {
		t.Error("this test is no Go program")
	}
}
