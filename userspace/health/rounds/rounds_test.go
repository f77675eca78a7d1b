package rounds

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A hundred posts of one period have one turn together, and are one waking.
func TestTurnsComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchman()
		var posts []*Post
		for range 100 {
			time.Sleep(7 * time.Millisecond)
			posts = append(posts, w.post(time.Second, nil))
		}
		defer stop(posts...)
		first := <-posts[0].C
		for i, p := range posts[1:] {
			if at := <-p.C; !at.Equal(first) {
				t.Fatalf("post %d has its turn at %v, and the first at %v", i+1, at, first)
			}
		}
	})
}

// Only a glance that sees something gives a turn.
func TestGlances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchman()
		var glances atomic.Int64
		var worth atomic.Bool
		p := w.post(200*time.Millisecond, func() bool { glances.Add(1); return worth.Load() })
		defer stop(p)
		time.Sleep(time.Minute + time.Millisecond)
		synctest.Wait()
		if n := glances.Load(); n != 300 || len(p.C) != 0 {
			t.Fatalf("%d glances and %d turns in a minute, want 300 and none", n, len(p.C))
		}
		worth.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(p.C) != 1 {
			t.Fatalf("%d turns wait, want the one", len(p.C))
		}
		<-p.C
		p.Change(100*time.Millisecond, nil)
		began := time.Now()
		for range 10 {
			<-p.C
		}
		if took := time.Since(began); took != 999*time.Millisecond {
			t.Errorf("ten turns took %v", took)
		}
	})
}

// A post that comes, or is changed to, an earlier turn isn't late.
func TestEarlierTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchman()
		slow := w.post(time.Hour, nil)
		defer stop(slow)
		time.Sleep(time.Second)
		quick := w.post(time.Second, nil)
		defer stop(quick)
		began := time.Now()
		<-quick.C
		slow.Change(3*time.Second, nil)
		<-slow.C
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
	})
}

// stop leaves no goroutine, or the bubble would say so.
func stop(posts ...*Post) {
	for _, p := range posts {
		p.Stop()
	}
}

// The goroutine ends with the last post, and another begins with the next.
func TestGoesHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchman()
		for range 3 {
			p := w.post(time.Second, nil)
			<-p.C
			stop(p)
			synctest.Wait()
			w.mu.Lock()
			walks := w.walks
			w.mu.Unlock()
			if walks {
				t.Fatal("it walks on")
			}
			p.Change(time.Millisecond, nil)
			p.Stop()
		}
	})
}
