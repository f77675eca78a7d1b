package sockets

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// BenchmarkHolders looks for one listener among processes with 13 descriptors
// each.
func BenchmarkHolders(b *testing.B) {
	l := listen(b, "tcp4", "127.0.0.1:0")
	inode := describeOf(b, l).Inode
	var crowd []*exec.Cmd
	b.Cleanup(func() {
		for _, cmd := range crowd {
			_ = cmd.Process.Kill()
		}
		for _, cmd := range crowd {
			_ = cmd.Wait()
		}
	})

	for _, size := range []int{0, 1000, 10000} {
		b.Run(fmt.Sprintf("processes=%d", size), func(b *testing.B) {
			for len(crowd) < size {
				crowd = append(crowd, idle(b))
			}
			b.ResetTimer()
			for range b.N {
				if found, err := Holders([]uint32{inode}); err != nil || len(found) != 1 {
					b.Fatal(found, err)
				}
			}
		})
	}
}

// idle starts a small process.
func idle(b *testing.B) *exec.Cmd {
	b.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	cmd := exec.Command("sleep", "3600")
	for range 10 {
		cmd.ExtraFiles = append(cmd.ExtraFiles, null)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return cmd
}

// BenchmarkConnections lists one connection among many of other ports, and the
// many.
func BenchmarkConnections(b *testing.B) {
	const crowd = 5000
	few, many := listen(b, "tcp4", "127.0.0.1:0"), listen(b, "tcp4", "127.0.0.1:0")
	dial(b, "tcp4", few.Addr())
	for range crowd {
		dial(b, "tcp4", many.Addr())
		server, err := many.Accept()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { server.Close() })
	}
	for _, c := range []struct {
		name string
		of   Address
		want int
	}{{"1", addressOf(few), 1}, {fmt.Sprint(crowd), addressOf(many), crowd}} {
		b.Run("found="+c.name, func(b *testing.B) {
			for range b.N {
				if found, err := Connections(c.of); err != nil || len(found) != c.want {
					b.Fatal(len(found), err)
				}
			}
		})
	}
}
