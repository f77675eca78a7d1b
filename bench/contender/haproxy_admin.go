package contender

import (
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// admin is HAProxy's runtime interface.
type admin struct {
	folder string // of the socket
}

// do is for commands that have nothing to say but what went wrong.
func (a admin) do(format string, args ...any) error {
	command := fmt.Sprintf(format, args...)
	answer, err := a.ask(command)
	if err != nil {
		return err
	}
	answer = strings.TrimSpace(answer)
	if answer != "" && answer != "New server registered." {
		return fmt.Errorf("HAProxy: %s: %s", command, answer)
	}
	return nil
}

// ask makes a connection for each command, which HAProxy ends after its answer.
func (a admin) ask(command string) (string, error) {
	// The folder's path may be longer than a socket's can be.
	folder, err := os.Open(a.folder)
	if err != nil {
		return "", err
	}
	defer folder.Close()
	conn, err := net.DialTimeout("unix", fmt.Sprintf("/proc/self/fd/%d/admin.sock", folder.Fd()), patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// sessions is how many connections or requests a server has now.
func (a admin) sessions(server string) (int, error) {
	answer, err := a.ask("show stat workers 4 -1") // 4: servers alone
	if err != nil {
		return 0, err
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(answer, "# "))).ReadAll()
	if err != nil || len(rows) == 0 {
		return 0, fmt.Errorf("HAProxy's statistics: %w: %q", err, answer)
	}
	name, current := slices.Index(rows[0], "svname"), slices.Index(rows[0], "scur")
	for _, row := range rows[1:] {
		if row[name] == server {
			return strconv.Atoi(row[current])
		}
	}
	return 0, fmt.Errorf("HAProxy knows no server %s", server)
}
