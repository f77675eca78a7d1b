package control

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/userspace/control/output"
	"github.com/sockdist/sockdist/userspace/scaling"
)

const (
	// MaxWorkers is how many slots a group has.
	MaxWorkers = 256

	// DefaultGrace is a good [Config.Grace].
	DefaultGrace = 30 * time.Second

	// DefaultStopTimeout stands for a zero [Config.StopTimeout].
	DefaultStopTimeout = 10 * time.Second

	// DefaultReadyTimeout stands for a zero [Config.ReadyTimeout].
	DefaultReadyTimeout = time.Minute

	// DefaultRuntimeDir stands for an empty [Config.RuntimeDir].
	DefaultRuntimeDir = "/run/sockdist"
)

// Config says what to run. Name and Command are needed; the zero value of
// every other field is good.
type Config struct {
	// Name is the app's, and that of its cgroup: see [cgroup.CheckName].
	Name string

	// Command is the program, looked for on PATH, and its arguments.
	Command []string

	// Workers is how many, up to [MaxWorkers]; 0 means [AutoWorkers].
	Workers int

	// Ports are those to share; none means all that the workers listen on.
	Ports []uint16

	// User is whom the workers run as: USER or USER:GROUP, names or numbers.
	// Empty means the user of this process.
	User string

	// Pin has worker i run on the i-th of this process's CPUs only, counting
	// from the first one again when they are used up.
	Pin bool

	// Env are NAME=VALUE for the workers, on top of all others.
	Env []string

	// Grace is how long the end waits for connections to be closed.
	Grace time.Duration

	// StopTimeout is how long workers have from SIGTERM to SIGKILL.
	StopTimeout time.Duration

	// Ready is a URL, or a path, that a worker has to answer with a status
	// below 400 before it gets connections. Empty: it has to listen.
	Ready string

	// ReadyTimeout is how long a new worker of a reload, or of a bigger crew,
	// has to get ready.
	ReadyTimeout time.Duration

	// HangAfter is how long a worker may accept nothing while connections wait
	// before it counts as hung; 0 means for ever. OnHang, empty for
	// [RestartHung], is what happens then, and HangGrace how long it has to go
	// on before it is killed.
	HangAfter time.Duration
	OnHang    OnHang
	HangGrace time.Duration

	// ScaleAt is how much load one worker may carry; their number follows the
	// load, between Min (0 for 1) and Max (0 for Workers). The zero Target means
	// that it stays as it is.
	ScaleAt  scaling.Target
	Min, Max int

	// MemoryMax is the most memory that a worker may have, in bytes; with more,
	// the kernel kills it. 0 means no limit. It takes the memory controller of
	// cgroup v2.
	MemoryMax uint64

	// RuntimeDir is where the app's folder is, with its state and the socket
	// on which it takes requests.
	RuntimeDir string

	// TakeOver has Run take the app over from a supervisor that runs.
	TakeOver bool

	// EndOnly has Run end the workers that an earlier supervisor left, and
	// start none.
	EndOnly bool

	// Log is the format of what workers print.
	Log output.Format

	// Stdout and Stderr are where it goes. Nil means this process's own. With
	// Relay set they must be descriptors that the relay inherits: os.Files.
	Stdout, Stderr io.Writer

	// Relay is the command that reads what workers print, as in
	// {"/proc/self/exe", "output"}; it has to call [output.Serve] with the
	// format that comes as one more argument. Without it this process reads
	// by itself, and then its sudden death breaks the workers' pipes.
	Relay []string

	// Standby are listening sockets of the service manager, on ports that the
	// workers share: what waits in their queues goes to the workers.
	Standby []*os.File

	// Managed: a service manager starts this process again whenever it ends, or a
	// daemon this supervisor, so that no other may take the app over.
	Managed bool

	// Manager is told how the app is. Nil means nobody is.
	Manager Manager

	// Logger takes what the supervisor itself has to say. Nil means
	// [slog.Default].
	Logger *slog.Logger
}

// complete checks the configuration and fills in what was left open.
func (c *Config) complete() error {
	if err := cgroup.CheckName(c.Name); err != nil {
		return err
	}
	if c.Workers < 0 || c.Workers > MaxWorkers {
		return fmt.Errorf("%d workers: take 1 to %d, or 0 for one for each CPU", c.Workers, MaxWorkers)
	}
	if err := checkAssignments(c.Env); err != nil {
		return err
	}
	if c.Workers == 0 {
		n, err := AutoWorkers()
		if err != nil {
			return err
		}
		c.Workers = n
	}
	if err := c.completeScaling(); err != nil {
		return err
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = DefaultStopTimeout
	}
	if c.ReadyTimeout == 0 {
		c.ReadyTimeout = DefaultReadyTimeout
	}
	if c.HangGrace == 0 {
		c.HangGrace = DefaultHangGrace
	}
	switch c.OnHang {
	case "":
		c.OnHang = RestartHung
	case RestartHung, EjectHung, IgnoreHung:
	default:
		return fmt.Errorf("%q can't be done to a worker that hangs: take %s, %s or %s", c.OnHang, RestartHung, EjectHung, IgnoreHung)
	}
	if c.RuntimeDir == "" {
		c.RuntimeDir = DefaultRuntimeDir
	}
	if c.Manager == nil {
		c.Manager = unmanaged{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c.completeOutput()
}

func (c *Config) completeOutput() error {
	if c.Stdout == nil {
		c.Stdout = os.Stdout
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	if c.Log == output.Auto {
		c.Log = output.Plain
		if isTerminal(c.Stdout) {
			c.Log = output.Prefix
		}
	}
	if len(c.Relay) == 0 {
		return nil
	}
	for _, stream := range []io.Writer{c.Stdout, c.Stderr} {
		if _, ok := stream.(*os.File); !ok {
			return fmt.Errorf("the output of workers goes to a %T, which a relay can't inherit", stream)
		}
	}
	return nil
}

// findCommand returns the path of the program, or says why it can't run.
func findCommand(command []string) (string, error) {
	if len(command) == 0 {
		return "", errors.New("no command to run")
	}
	path, err := exec.LookPath(command[0])
	if errors.Is(err, exec.ErrDot) {
		return "", fmt.Errorf("%s is in the current folder, which PATH shouldn't name: write ./%s: %w",
			command[0], command[0], err)
	}
	if err != nil {
		return "", fmt.Errorf("no such command: %w", err)
	}
	return path, nil
}

func isTerminal(stream io.Writer) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
