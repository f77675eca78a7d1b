package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// A client has a connection.
type client interface {
	// ask has a request of some microseconds answered, and says who did.
	ask(cost float64) (worker string, err error)
	close()
}

// plainClient speaks HTTP/1.1. It opens a connection when it has none.
type plainClient struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
}

// answerWithin bounds every answer.
const answerWithin = 30 * time.Second

// ask asks again on another connection if the server closed an idle one before
// it saw the request, as any client does.
func (c *plainClient) ask(cost float64) (string, error) {
	kept := c.conn != nil
	worker, err := c.askOnce(cost)
	if err != nil && kept {
		c.close()
		worker, err = c.askOnce(cost)
	}
	if err != nil {
		c.close()
	}
	return worker, err
}

func (c *plainClient) askOnce(cost float64) (worker string, err error) {
	if c.conn == nil {
		if c.conn, err = net.Dial("tcp", c.address); err != nil {
			return "", err
		}
		c.reader = bufio.NewReader(c.conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return "", err
	}
	text := fmt.Appendf(nil, "GET /%s HTTP/1.1\r\nHost: bench\r\n\r\n", strconv.FormatFloat(cost, 'f', -1, 64))
	if _, err := c.conn.Write(text); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return "", err
	}
	if worker, err = read(response); err == nil && response.Close {
		c.close() // the server asked for it
	}
	return worker, err
}

func (c *plainClient) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func read(response *http.Response) (string, error) {
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %q", response.Status, text)
	}
	return string(text), err
}

// streamClient speaks HTTP/2 without TLS, on one connection.
type streamClient struct {
	url       string
	transport *http.Transport
}

func newStreamClient(address string) *streamClient {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	return &streamClient{"http://" + address + "/", transport}
}

func (c *streamClient) ask(cost float64) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+strconv.FormatFloat(cost, 'f', -1, 64), nil)
	if err != nil {
		return "", err
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	return read(response)
}

func (c *streamClient) close() { c.transport.CloseIdleConnections() }
