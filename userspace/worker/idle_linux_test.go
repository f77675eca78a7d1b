package worker_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/worker"
)

func init() { roles["idle"] = idleRole }

// idleRole does nothing for a while, and says what that cost.
func idleRole(args []string) error {
	opts := []worker.Option{}
	if os.Getenv("SOCKDIST_TEST_ALL") != "" {
		opts = append(opts, worker.WithStall(time.Second), worker.WithSchedulerLatency(time.Millisecond), worker.WithRebalance(worker.Rebalance{}))
	}
	l, err := worker.Listen(context.Background(), "tcp", args[0], opts...)
	if err != nil {
		return err
	}
	defer l.Close()
	go l.Accept()
	time.Sleep(time.Second)
	const while = 5 * time.Second
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	time.Sleep(while)
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	fmt.Println(float64(cpu)/while.Seconds()/1e3, float64(after.Nvcsw-before.Nvcsw)/while.Seconds())
	return nil
}

// An idle worker's CPU time and how often a thread of it goes to sleep, each second.
func BenchmarkIdle(b *testing.B) {
	for _, all := range []string{"", "1"} {
		b.Run("options="+map[string]string{"": "default", "1": "all"}[all], func(b *testing.B) {
			b.Setenv("SOCKDIST_TEST_ALL", all)
			w := newWorld(b)
			var cpu, sleeps float64
			for range b.N {
				cmd, said := w.child("idle", nil)
				if err := cmd.Wait(); err != nil {
					b.Fatal(err)
				}
				fields := strings.Fields(lastLine(said.String()))
				c, _ := strconv.ParseFloat(fields[0], 64)
				s, _ := strconv.ParseFloat(fields[1], 64)
				cpu, sleeps = cpu+c, sleeps+s
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(cpu/float64(b.N), "cpu-µs/s")
			b.ReportMetric(sleeps/float64(b.N), "sleeps/s")
		})
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
