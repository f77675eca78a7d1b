package control

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
)

// DirectClient returns a client that asks one worker: each request goes over a
// connection of its own from dial, whatever host the URL names. It follows no
// redirect, which could lead elsewhere, and takes any certificate: it is our
// own worker that is asked, by whatever name.
func DirectClient(dial func(context.Context) (net.Conn, error)) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
