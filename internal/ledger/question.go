package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// errWrong says that an answer came and is not the one to expect.
var errWrong = errors.New("wrong answer")

// question is what is sent: the connection's number, and which question of the
// connection it is. Short connections have only the question 0, and ask the
// server to close.
func question(server netip.AddrPort, number uint64, turn int, held bool) []byte {
	last := ""
	if !held {
		last = "Connection: close\r\n"
	}
	return fmt.Appendf(nil, "GET /%d.%d HTTP/1.1\r\nHost: %s\r\n%s\r\n", number, turn, server, last)
}

// parseQuestion reads the "NUMBER.TURN" that a server has recorded.
func parseQuestion(text string) (number uint64, turn int, err error) {
	before, after, found := strings.Cut(text, ".")
	if found {
		number, err = strconv.ParseUint(before, 10, 64)
		if err == nil {
			turn, err = strconv.Atoi(after)
		}
	}
	if !found || err != nil {
		return 0, 0, fmt.Errorf("%q is no number of a connection", text)
	}
	return number, turn, nil
}

// answer is a whole answer.
type answer struct {
	worker Worker
	closes bool // the server says that it closes the connection
}

// largestAnswer bounds an answer, in bytes.
const largestAnswer = 64 << 10

// parseAnswer reads an answer to a question of this number and turn. It wants
// status 200, a Content-Length, and a body "PID SLOT NUMBER.TURN", with "-" for
// a slot that isn't known. done is false as long as the answer isn't whole; an
// error wraps errWrong.
func parseAnswer(in []byte, number uint64, turn int) (a answer, done bool, err error) {
	head, body, found := bytes.Cut(in, []byte("\r\n\r\n"))
	if !found {
		if len(in) > largestAnswer {
			return a, false, fmt.Errorf("%w: no end of the head in %d bytes", errWrong, len(in))
		}
		return a, false, nil
	}
	length, closes, err := parseHead(string(head))
	if err != nil {
		return a, false, err
	}
	if len(body) < length {
		return a, false, nil
	}
	if len(body) > length {
		return a, false, fmt.Errorf("%w: %q comes after the answer", errWrong, body[length:])
	}
	worker, err := parseBody(string(body), fmt.Sprintf("%d.%d", number, turn))
	return answer{worker, closes}, err == nil, err
}

func parseHead(head string) (length int, closes bool, err error) {
	lines := strings.Split(head, "\r\n")
	if !strings.HasPrefix(lines[0], "HTTP/1.1 200 ") {
		return 0, false, fmt.Errorf("%w: status %q", errWrong, lines[0])
	}
	length = -1
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "Content-Length"):
			if length, err = strconv.Atoi(value); err != nil || length > largestAnswer {
				return 0, false, fmt.Errorf("%w: length %q", errWrong, value)
			}
		case strings.EqualFold(name, "Connection"):
			closes = strings.EqualFold(value, "close")
		}
	}
	if length < 0 {
		return 0, false, fmt.Errorf("%w: no length in %q", errWrong, head)
	}
	return length, closes, nil
}

func parseBody(body, want string) (w Worker, err error) {
	fields := strings.Fields(body)
	if len(fields) != 3 || fields[2] != want {
		return w, fmt.Errorf("%w: %q to %s", errWrong, body, want)
	}
	w.PID, err = strconv.Atoi(fields[0])
	if err != nil || w.PID <= 0 {
		return w, fmt.Errorf("%w: process ID in %q", errWrong, body)
	}
	if w.Slot = Unknown; fields[1] != "-" {
		if w.Slot, err = strconv.Atoi(fields[1]); err != nil {
			return w, fmt.Errorf("%w: slot in %q", errWrong, body)
		}
	}
	return w, nil
}
