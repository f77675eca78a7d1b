package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait. A busy machine may need some of it.
const patience = time.Minute

// A process is what a test started. It ends with the test, at the latest.
type process struct {
	*exec.Cmd
	t      testing.TB
	output string // file
	ended  chan struct{}
	err    error // once ended is closed
}

func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: cmd, t: t, output: file.Name(), ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.clean)
	return p
}

// terminate sends SIGTERM and waits for an end in order.
func (p *process) terminate() {
	p.t.Helper()
	_ = p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		if p.err != nil {
			p.t.Errorf("%v ended: %v", p.Args, p.err)
		}
	case <-time.After(patience):
		p.t.Errorf("%v doesn't end", p.Args)
	}
}

func (p *process) clean() {
	_ = p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Errorf("%v has to be killed", p.Args)
	}
	_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.ended
	if text, err := os.ReadFile(p.output); err == nil && p.t.Failed() {
		p.t.Logf("%v said:\n%s", p.Args, text)
	}
}

// await waits for something that is to come true.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// build builds a command, in the folder of its module.
func build(t testing.TB, module, path string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), filepath.Base(path))
	cmd := exec.Command("go", "build", "-o", binary, path)
	cmd.Dir = module
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, output)
	}
	return binary
}
