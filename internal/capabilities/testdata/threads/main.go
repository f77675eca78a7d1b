// Command threads gives up capabilities as its arguments say, and prints what
// each of its threads has then. It is built without cgo.
//
//	threads KEEP LOWER nnp|- [COMMAND ARGUMENT…]
//
// KEEP and LOWER are sets as hexadecimal numbers. A command is started
// afterwards, and its output is what is printed.
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/capabilities"
)

func main() {
	log.SetFlags(0)
	stop := manyThreads(12)
	defer stop()
	if err := capabilities.LowerAmbient(set(os.Args[2])); err != nil {
		log.Fatal(err)
	}
	if os.Args[3] == "nnp" {
		if err := capabilities.RefuseNewPrivileges(); err != nil {
			log.Fatal(err)
		}
	}
	if err := capabilities.Drop(set(os.Args[1])); err != nil {
		log.Fatal(err)
	}
	if len(os.Args) > 4 {
		command := exec.Command(os.Args[4], os.Args[5:]...)
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		if err := command.Run(); err != nil {
			log.Fatal(err)
		}
		return
	}
	print()
}

func set(text string) capabilities.Set {
	number, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		log.Fatal(err)
	}
	return capabilities.Set(number)
}

// manyThreads has threads of all kinds: in a system call, locked, at work.
func manyThreads(n int) (stop func()) {
	var ready, ended sync.WaitGroup
	over := make(chan struct{})
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		log.Fatal(err)
	}
	for i := range n {
		ready.Add(1)
		ended.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			switch i % 3 {
			case 0:
				_, _ = unix.Read(pipe[0], make([]byte, 1)) // blocks in the kernel
			case 1:
				<-over
			case 2:
				for {
					select {
					case <-over:
						return
					default:
						runtime.Gosched()
					}
				}
			}
		})
	}
	ready.Wait()
	return func() {
		close(over)
		_ = unix.Close(pipe[1])
		ended.Wait()
	}
}

func print() {
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		log.Fatal(err)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") {
				fmt.Print(strings.Join(strings.Fields(line), ""), " ")
			}
		}
		fmt.Printf("Dumpable:%d\n", dumpable)
	}
}
