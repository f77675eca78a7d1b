package grpcworker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sockdist/sockdist/internal/privilege"
)

// recruits keeps every connection, to ask them at will.
type recruits struct {
	credentials.TransportCredentials
	mu    sync.Mutex
	conns []*conn
}

func (r *recruits) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	upper, info, err := r.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return upper, info, err
	}
	c := &conn{Conn: upper}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, c)
	return c, info, nil
}

// ask asks one client that was not asked before, if there is one.
func (r *recruits) ask() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.conns) > 0 {
		at := rand.IntN(len(r.conns))
		c := r.conns[at]
		r.conns = append(r.conns[:at], r.conns[at+1:]...)
		if c.leave() {
			return true
		}
	}
	return false
}

// goAways is how often clients are asked to leave while they call.
const goAways = 200

// Clients of gRPC-Go that are asked to leave again and again lose no call, with
// and without TLS.
func TestGoAwayUnderLoad(t *testing.T) {
	secret, trust := secrets(t)
	for name, c := range map[string]struct {
		server, client credentials.TransportCredentials
	}{
		"plain": {insecure.NewCredentials(), nil}, "tls": {secret, trust},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recruits{TransportCredentials: c.server}
			l := listen(t)
			serve(t, l, &service{}, grpc.Creds(r))
			load := startLoad(t, l.Addr().String(), 6, c.client)
			for asked := 0; asked < goAways && load.failed() == 0; {
				if r.ask() {
					asked++
				}
				time.Sleep(time.Duration(rand.IntN(int(5 * time.Millisecond))))
			}
			load.await(t, 1000)
			for _, err := range load.finish() {
				t.Errorf("failed: %v", err)
			}
			t.Logf("%d calls while clients were asked %d times", load.done.Load(), goAways)
		})
	}
}

// So it is with Node's clients, whose HTTP/2 is nghttp2: they close each session that
// they were asked to leave, after its last call. Each call is served once.
func TestGoAwayOfNode(t *testing.T) {
	node := privilege.Tool(t, "node")
	r := &recruits{TransportCredentials: insecure.NewCredentials()}
	l := listen(t)
	s := &service{}
	serve(t, l, s, grpc.Creds(r))
	const requests = 20_000
	client := exec.CommandContext(t.Context(), node, "testdata/client.js", fmt.Sprint(l.Addr().(*net.TCPAddr).Port), fmt.Sprint(requests), "20")
	var asked int
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(int(10 * time.Millisecond)))):
			}
			if r.ask() {
				asked++
			}
		}
	}()
	var complaints bytes.Buffer
	client.Stderr = &complaints
	output, err := client.Output()
	close(stop)
	<-stopped
	if err != nil {
		t.Fatalf("%v: %s%s", err, output, &complaints)
	}
	var result struct {
		Answered, Sessions, Asked, Closed int
		Failed                            []string
	}
	if err := json.Unmarshal(output, &result); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	t.Logf("asked %d times: %s", asked, output)
	if result.Answered != requests || len(result.Failed) > 0 {
		t.Errorf("%d of %d answered: %v", result.Answered, requests, result.Failed)
	}
	if n := s.served.Load(); n != requests {
		t.Errorf("%d of %d requests were served", n, requests)
	}
	if asked < 10 || result.Asked < asked-2 || result.Closed < result.Asked {
		t.Errorf("of %d questions %d arrived, and %d sessions were closed", asked, result.Asked, result.Closed)
	}
}
