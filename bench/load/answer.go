package load

import (
	"bytes"
	"fmt"
	"strconv"
)

// maxAnswer is more than any worker says.
const maxAnswer = 16 << 10

// An answer is what a worker said.
type answer struct {
	pid    int
	closes bool // the server closes the connection after it
}

// parse reads an answer as far as it has come. whole tells whether that is all
// of it. An error wraps ErrWrong.
func parse(b []byte) (a answer, whole bool, err error) {
	head, body, found := bytes.Cut(b, []byte("\r\n\r\n"))
	if !found {
		if len(b) > maxAnswer {
			return a, false, wrong("a head without an end", b)
		}
		return a, false, nil
	}
	length, closes, err := parseHead(head)
	if err != nil || len(body) < length {
		return a, false, err
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(body)))
	if err != nil || pid <= 0 || len(body) > length {
		return a, false, wrong("the body should be a process ID", body)
	}
	return answer{pid: pid, closes: closes}, true, nil
}

// parseHead wants status 200 and a length.
func parseHead(head []byte) (length int, closes bool, err error) {
	status, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if len(status) < 12 || !bytes.HasPrefix(status, []byte("HTTP/1.")) || string(status[9:12]) != "200" {
		return 0, false, wrong("status", status)
	}
	length = -1
	for len(fields) > 0 {
		var field []byte
		field, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(field, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length > maxAnswer {
				return 0, false, wrong("length", field)
			}
		case bytes.EqualFold(name, []byte("Connection")):
			closes = bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 {
		return 0, false, wrong("no length", head)
	}
	return length, closes, nil
}

func wrong(what string, text []byte) error {
	return fmt.Errorf("%w: %s: %.80q", ErrWrong, what, text)
}
