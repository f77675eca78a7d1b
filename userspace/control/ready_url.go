package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// readyPatience is how long a worker has for one answer.
const readyPatience = 2 * time.Second

// readyURL is what a worker has to answer before it gets connections.
type readyURL struct {
	url  url.URL
	port uint16 // 0: that of any group
}

// CheckReady says what is wrong with a [Config.Ready].
func CheckReady(text string) error {
	_, err := parseReady(text)
	return err
}

// parseReady reads a URL, or just a path such as /health.
func parseReady(text string) (*readyURL, error) {
	if strings.HasPrefix(text, "/") {
		text = "http://localhost" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%q is nothing to ask a worker: write a URL such as http://localhost:8080/health, or a path", text)
	}
	r := &readyURL{url: *u}
	if text := u.Port(); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("%q has no good port: take 1 to 65535", u.Host)
		}
		r.port = uint16(port)
	}
	return r, nil
}

// ask returns nil when the worker in the slot answers with a status below 400.
// The connection is steered to that slot; it needs no name that resolves, and
// no certificate that fits it.
func (r *readyURL) ask(steering Steering, slot int, groups []sockets.Group) error {
	g, err := r.groupOf(groups)
	if err != nil {
		return err
	}
	client := DirectClient(func(ctx context.Context) (net.Conn, error) { return steering.Dial(ctx, slot, g) })
	client.Timeout = readyPatience
	response, err := client.Get(r.url.String())
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode >= 400 {
		return fmt.Errorf("%s answers %s", r.url.String(), response.Status)
	}
	return nil
}

func (r *readyURL) groupOf(groups []sockets.Group) (sockets.Group, error) {
	for _, g := range groups {
		if r.port == 0 || g.Address.Port() == r.port {
			return g, nil
		}
	}
	return sockets.Group{}, errors.New("the worker doesn't listen there")
}
