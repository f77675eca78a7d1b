package examples

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// A client has a connection of its own, and opens another when it is asked to
// leave.
type client interface {
	// ask is answered, or there is an error.
	ask(ctx context.Context) error
	close()
}

// httpClient speaks one version of HTTP.
type httpClient struct {
	*http.Client
	url   string
	major int // of the version
}

func newHTTP(address string) client {
	return &httpClient{&http.Client{Transport: &http.Transport{}}, "http://" + address + "/path", 1}
}

func newHTTP2(address string) client {
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return &httpClient{&http.Client{Transport: transport}, "https://" + address + "/path", 2}
}

func newH2C(address string) client {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	return &httpClient{&http.Client{Transport: transport}, "http://" + address + "/path", 2}
}

func (c *httpClient) ask(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	response, err := c.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 || response.ProtoMajor != c.major || !bytes.HasPrefix(text, []byte("/path answered by ")) {
		return fmt.Errorf("%s, %s: %q", response.Status, response.Proto, text)
	}
	return nil
}

func (c *httpClient) close() { c.CloseIdleConnections() }

type grpcClient struct {
	*grpc.ClientConn
}

func newGRPC(address string) client {
	c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err) // of the constants above
	}
	return &grpcClient{c}
}

func (c *grpcClient) ask(ctx context.Context) error {
	response, err := grpc_health_v1.NewHealthClient(c).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err == nil && response.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		err = fmt.Errorf("%v", response)
	}
	return err
}

func (c *grpcClient) close() { c.Close() }

type wsClient struct {
	url  string
	conn *websocket.Conn
}

func newWS(address string) client { return &wsClient{url: "ws://" + address + "/"} }

// ask repeats what it had no answer to when a worker said goodbye in order.
func (c *wsClient) ask(ctx context.Context) (err error) {
	for {
		if c.conn == nil {
			if c.conn, _, err = websocket.Dial(ctx, c.url, nil); err != nil {
				return fmt.Errorf("dial: %w", err)
			}
		}
		err = c.askOnce(ctx)
		if websocket.CloseStatus(err) != websocket.StatusGoingAway {
			return err
		}
		c.close()
	}
}

func (c *wsClient) askOnce(ctx context.Context) error {
	if err := c.conn.Write(ctx, websocket.MessageText, []byte("message")); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	_, text, err := c.conn.Read(ctx)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if !bytes.HasPrefix(text, []byte("message answered by ")) {
		return fmt.Errorf("answer %q", text)
	}
	return nil
}

func (c *wsClient) close() {
	if c.conn != nil {
		_ = c.conn.CloseNow()
		c.conn = nil
	}
}
