// Command fiber serves the app's requests with fiber, on PORT, as GOMAXPROCS
// workers that its own prefork option makes: each listens with SO_REUSEPORT.
// When one of them dies, all end.
package main

import (
	"fmt"
	"os"

	"github.com/gofiber/fiber/v3"

	"github.com/sockdist/sockdist/bench/peers/go/app"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "fiber:", err)
		os.Exit(1)
	}
}

func run() error {
	work := app.NewWork()
	answer := func(c fiber.Ctx) error {
		if err := work.Do(c.Query("us")); err != nil {
			return fiber.NewError(fiber.StatusBadRequest, err.Error())
		}
		return c.Send(app.Answer)
	}
	web := fiber.New()
	web.Get("/", answer)
	web.Get("/work", answer)
	return web.Listen(":"+os.Getenv("PORT"), fiber.ListenConfig{EnablePrefork: true, DisableStartupMessage: true})
}
