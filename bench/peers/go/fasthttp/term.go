package main

import (
	"os"
	"os/signal"
	"syscall"
)

// atTerm has something done at SIGTERM, once. Stop waits for it.
func atTerm(do func()) (stop func()) {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, ok := <-told; ok {
			do()
		}
	}()
	return func() {
		signal.Stop(told)
		close(told)
		<-done
	}
}
