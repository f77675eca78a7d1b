// Command fasthttp serves the app's requests with fasthttp, on PORT.
//
//	fasthttp           a server that knows of no others
//	fasthttp -prefork  GOMAXPROCS workers, as its own prefork package makes them:
//	                   they inherit one listener
package main

import (
	"flag"
	"fmt"
	"math"
	"net"
	"os"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/prefork"

	"github.com/sockdist/sockdist/bench/peers/go/app"
)

func main() {
	fork := flag.Bool("prefork", false, "serve with GOMAXPROCS workers")
	flag.Parse()
	if err := run(*fork); err != nil {
		fmt.Fprintln(os.Stderr, "fasthttp:", err)
		os.Exit(1)
	}
}

func run(fork bool) error {
	server := newServer(app.NewWork())
	if fork {
		return preforked(server)
	}
	file, err := app.Listen()
	if err != nil {
		return err
	}
	l, err := net.FileListener(file)
	if err != nil {
		return err
	}
	file.Close() // l has a duplicate
	stop := atTerm(func() { _ = server.Shutdown() })
	defer stop()
	return server.Serve(l)
}

// preforked is its defaults, but that it never gives up on children that die,
// and that they don't outlive it.
func preforked(server *fasthttp.Server) error {
	p := prefork.New(server)
	p.RecoverThreshold = math.MaxInt
	p.OnMasterDeath = func() { os.Exit(1) }
	return p.ListenAndServe(":" + os.Getenv("PORT"))
}

func newServer(work *app.Work) *fasthttp.Server {
	return &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Path()) {
		case "/", "/work":
			if err := work.Do(string(ctx.QueryArgs().Peek("us"))); err != nil {
				ctx.Error(err.Error(), fasthttp.StatusBadRequest)
				return
			}
			_, _ = ctx.Write(app.Answer)
		default:
			ctx.NotFound()
		}
	}}
}
