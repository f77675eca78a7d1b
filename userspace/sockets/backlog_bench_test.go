package sockets

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
)

// BenchmarkBacklogs compares the ways to read the backlogs of the listeners of
// one port, beside as many of other ports.
func BenchmarkBacklogs(b *testing.B) {
	for _, size := range []int{1, 8, 100} {
		ns := netns.New(b)
		for range size {
			_ = ns.Do(func() error {
				listen(b, "tcp4", "127.0.0.1:80", reusePort)
				listen(b, "tcp4", "127.0.0.1:0")
				return nil
			})
		}
		for _, way := range []struct {
			name string
			read func() (int, error)
		}{
			{"Listeners", func() (int, error) {
				found, err := Listeners(Address{Host: netip.MustParseAddr("127.0.0.1"), Port: 80})
				return len(found), err
			}},
			{"ListenersOfAll", func() (int, error) {
				found, err := query{states: Listen.bit(), ulp: true}.run()
				return len(found) / 2, err
			}},
			{"Backlogs", func() (int, error) {
				found, err := Backlogs(80)
				return len(found), err
			}},
		} {
			b.Run(fmt.Sprintf("listeners=%d/%s", size, way.name), func(b *testing.B) {
				err := ns.Do(func() error {
					for b.Loop() {
						if found, err := way.read(); err != nil || found != size {
							return fmt.Errorf("%d listeners, %w", found, err)
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
