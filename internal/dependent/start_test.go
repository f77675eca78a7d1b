package dependent

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const roleVariable = "SOCKDIST_DEPENDENT_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		if err := beParent(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {}
	}
	goleak.VerifyTestMain(m)
}

// beParent starts a child and says who it is.
func beParent() error {
	cmd := exec.Command("sleep", "60")
	if err := Start(cmd); err != nil {
		return err
	}
	fmt.Println(cmd.Process.Pid)
	return nil
}

// Threads that end, the one that asked for the child among them, leave it alone.
func TestThreadsEnd(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		started <- Start(cmd)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	for range 200 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread()
		}()
		<-done
	}
	time.Sleep(50 * time.Millisecond) // a killed one would be dead by now
	if state, over := ended(cmd.Process.Pid); over {
		t.Errorf("the child ended: %s", state)
	}
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Error(err)
	}
}

// A child doesn't outlive its parent, however that ends.
func TestParentKilled(t *testing.T) {
	parent := exec.Command("/proc/self/exe")
	parent.Env = append(os.Environ(), roleVariable+"=1")
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	_ = parent.Process.Kill()
	_ = parent.Wait()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		state, over := ended(pid)
		if over {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the child lives: %s", state)
		}
	}
}

// ended tells it of a process that nobody has reaped yet, too.
func ended(pid int) (state string, over bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return string(stat), err != nil || strings.Contains(string(stat), ") Z ")
}

func TestStartFails(t *testing.T) {
	if err := Start(exec.Command("/not/there")); err == nil {
		t.Error("no error")
	}
	if err := Run(exec.Command("false")); err == nil {
		t.Error("no error")
	}
}
