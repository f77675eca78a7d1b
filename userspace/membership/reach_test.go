package membership

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/wire"
)

func childCommand(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	return cmd
}

// reachRole tries what an unprivileged process may want to do, and says what came of it.
func reachRole(args []string) error {
	switch args[0] {
	case "bind":
		return tryBind(args[1])
	case "join":
		_, _, err := joinGroup(args[1], args[2])
		return err
	case "leave session":
		conn, _, err := joinGroup(args[1], args[2])
		if err != nil {
			return err
		}
		conn.Close()
		fmt.Println("closed")
	case "fork":
		return leaveToHeir(args[1], args[2])
	default:
		return errors.New(args[0])
	}
	time.Sleep(time.Hour)
	return nil
}

func tryBind(address string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(netip.MustParseAddrPort(address)))
	}
	fmt.Println("bind:", err)
	return nil
}

func joinGroup(socket, group string) (*wire.Conn, []*os.File, error) {
	conn, err := wire.Dial(background, socket)
	if err != nil {
		return nil, nil, err
	}
	reply, files, err := ask(conn, wire.Request{Verb: wire.JoinGroup, Join: &wire.Join{Group: group}})
	if err != nil {
		fmt.Println("join:", err)
		return conn, nil, nil
	}
	fmt.Println("join: slot", reply.Seat.Slot)
	return conn, files, nil
}

// leaveToHeir has a child hold the listener that nobody accepts from.
func leaveToHeir(socket, group string) error {
	_, files, err := joinGroup(socket, group)
	if err != nil {
		return err
	}
	heir := childCommand("sleep")
	heir.SysProcAttr.Pdeathsig = 0
	heir.ExtraFiles = files[:1]
	if err := heir.Start(); err != nil {
		return err
	}
	fmt.Println("heir", heir.Process.Pid)
	return heir.Wait()
}
