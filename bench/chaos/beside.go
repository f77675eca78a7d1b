package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// besideWorkers share their port by themselves.
const besideWorkers = 3

// A beside is servers with SO_REUSEPORT of their own, which are attached and
// detached. Nobody kills them: detached, their queues are lost with them.
type beside struct {
	*service
	logFile *os.File
	servers []*exec.Cmd
	group   string
}

var besideLanes = []lane{{every: 2 * time.Second, deeds: []deed{
	{"attach", 5, onBeside((*beside).attach)},
	{"detach", 4, onBeside((*beside).detach)},
	{"weight", 2, onBeside((*beside).weight)},
	{"drain and undrain", 2, onBeside((*beside).drain)},
	{"policy", 2, onBeside((*beside).policy)},
}}, {every: 4 * time.Second, deeds: []deed{
	{"stop a worker", 1, onBeside((*beside).stopWorker)},
}}}

func onBeside(do func(*beside, event) error) func(subject, event) error {
	return func(x subject, e event) error { return do(x.(*beside), e) }
}

func (b *beside) own() *service { return b.service }
func (b *beside) lanes() []lane { return besideLanes }

// newBeside starts the servers.
func (s *suite) newBeside(number int) (*beside, error) {
	own, err := s.newService(number)
	if err != nil {
		return nil, err
	}
	b := &beside{service: own, group: own.name + "-attached"}
	b.held = ledger.Held{Count: 8, Life: 3 * time.Second}
	command, err := s.install(ledger.Go)
	if err != nil {
		return nil, err
	}
	port, err := s.freePort()
	if err != nil {
		return nil, err
	}
	b.ends = both(port)
	if b.logFile, err = os.Create(s.path(own.name + ".log")); err != nil {
		return nil, err
	}
	return b, b.start(command[0], port)
}

func (b *beside) start(program string, port int) error {
	for range besideWorkers {
		cmd := exec.Command(program, "-reuseport", fmt.Sprint(port))
		cmd.Env = append(os.Environ(), ledger.FolderVariable+"="+b.records, "GOMAXPROCS=1", "GODEBUG=multipathtcp=0")
		cmd.Stdout, cmd.Stderr = b.logFile, b.logFile
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		b.servers = append(b.servers, cmd)
	}
	for deadline := time.Now().Add(b.slow(chargeWithin)); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		found, err := sockets.Listeners(sockets.Address{Port: uint16(port)})
		if err != nil {
			return err
		}
		if len(found) == besideWorkers {
			return nil
		}
	}
	return fmt.Errorf("servers beside don't listen within %v: see %s", chargeWithin, b.logFile.Name())
}

func (b *beside) say(args ...string) (string, error) {
	b.write(b.name, "%s", joined(args))
	return b.verb(verbWithin, nil, args...)
}

func (b *beside) attach(event) error {
	_, err := b.say("attach", "--name", b.group, fmt.Sprintf("[::]:%d", b.ends[0].to.Port()))
	return err
}

// isAttached tells whether there is a group.
func (b *beside) isAttached() (bool, error) {
	st, err := b.readStatus(nil)
	if err != nil {
		return false, err
	}
	for _, g := range st.Groups {
		if g.Name == b.group {
			return true, nil
		}
	}
	return false, nil
}

// whenAttached runs a verb if there is a group.
func (b *beside) whenAttached(args ...string) error {
	attached, err := b.isAttached()
	if err != nil {
		return err
	}
	if !attached {
		return &skipError{"it isn't attached"}
	}
	_, err = b.say(args...)
	return err
}

func (b *beside) slot(e event) string { return fmt.Sprintf("%s/%d", b.group, e.pick(besideWorkers)) }

func (b *beside) detach(event) error { return b.whenAttached("detach", b.group) }

func (b *beside) weight(e event) error {
	return b.whenAttached("weight", b.slot(e), fmt.Sprint(10+int(e.share*290)))
}

func (b *beside) policy(e event) error {
	return b.whenAttached("policy", b.group, policies[e.pick(len(policies))])
}

func (b *beside) drain(e event) error {
	if err := b.whenAttached("drain", b.slot(e)); err != nil {
		return err
	}
	b.sleep(e.between(100*time.Millisecond, time.Second))
	return b.whenAttached("undrain", b.slot(e))
}

func (b *beside) stopWorker(e event) error {
	pid := b.servers[e.pick(len(b.servers))].Process.Pid
	length := e.between(100*time.Millisecond, 3*time.Second)
	b.write(b.name, "SIGSTOP of process %d for %v", pid, length.Round(time.Millisecond))
	goOn := stop(pid)
	defer goOn()
	b.sleep(length)
	return nil
}

// rest attaches it, so that there is something to count.
func (b *beside) rest() error { return b.attach(event{}) }

func (b *beside) alibi(ledger.Moment) (*alibi, error) { return &alibi{}, nil }

func (b *beside) end() error {
	defer b.logFile.Close()
	attached, err := b.isAttached()
	if err == nil && attached {
		_, err = b.say("detach", b.group)
	}
	for _, cmd := range b.servers {
		if unix.Kill(cmd.Process.Pid, 0) != nil {
			err = fmt.Errorf("process %d has ended by itself", cmd.Process.Pid)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return err
}
