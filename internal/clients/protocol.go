package clients

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// ErrWrong says that an answer came in full and was not the one to expect.
var ErrWrong = errors.New("wrong answer")

// Unknown is a slot that the server did not tell.
const Unknown = -1

// Answer is what a server says of itself.
type Answer struct {
	PID  int // of the process that answered; 0: it did not say
	Slot int // 0 … 255, or Unknown
}

// Protocol puts one question to a server and reads its answer, on a connection
// that stays usable for the next one. Its error wraps [ErrWrong] for an answer
// that came and was not as it should be; other errors are the connection's.
type Protocol func(w io.Writer, r *bufio.Reader) (Answer, error)

// largestAnswer bounds what is read of one answer's body, in bytes.
const largestAnswer = 1 << 20

// HTTP gets / and expects the status 200 and a body of the process ID that
// answered, perhaps with its slot behind: "4711", "4711 3".
func HTTP(w io.Writer, r *bufio.Reader) (Answer, error) {
	return getRoot(w, r, parseWorker)
}

// HTTPBody gets / like [HTTP], from servers with another kind of body. The
// check's error should say what is wrong with the body.
func HTTPBody(check func(body string) (Answer, error)) Protocol {
	return func(w io.Writer, r *bufio.Reader) (Answer, error) {
		return getRoot(w, r, check)
	}
}

func getRoot(w io.Writer, r *bufio.Reader, check func(string) (Answer, error)) (Answer, error) {
	if _, err := io.WriteString(w, "GET / HTTP/1.1\r\nHost: sockdist.test\r\n\r\n"); err != nil {
		return Answer{}, fmt.Errorf("send a request: %w", err)
	}
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return Answer{}, fmt.Errorf("read an answer: %w", malformed(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("read the body of an answer: %w", malformed(err))
	}
	if response.StatusCode != http.StatusOK {
		return Answer{}, fmt.Errorf("%w: status %s", ErrWrong, response.Status)
	}
	answer, err := check(string(body))
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	return answer, nil
}

// malformed marks an error of the HTTP reader as ErrWrong, unless it is the
// connection's own.
func malformed(err error) error {
	var errno syscall.Errno
	var wait interface{ Timeout() bool }
	if errors.As(err, &errno) || errors.As(err, &wait) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrWrong, err)
}

// Echo sends a line and expects it back, perhaps behind the process ID and slot
// of the worker: "ping-123", "4711 ping-123", "4711 3 ping-123".
func Echo(w io.Writer, r *bufio.Reader) (Answer, error) {
	question := fmt.Sprintf("ping-%d", rand.Uint64())
	if _, err := io.WriteString(w, question+"\n"); err != nil {
		return Answer{}, fmt.Errorf("send a line: %w", err)
	}
	line, err := r.ReadString('\n')
	if err != nil {
		return Answer{}, fmt.Errorf("read a line: %w", err)
	}
	worker, found := strings.CutSuffix(strings.TrimRight(line, "\r\n"), question)
	if !found {
		return Answer{}, fmt.Errorf("%w: %q to %q", ErrWrong, line, question)
	}
	if worker == "" {
		return Answer{Slot: Unknown}, nil
	}
	answer, err := parseWorker(worker)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	return answer, nil
}

// parseWorker reads "PID" or "PID SLOT".
func parseWorker(text string) (Answer, error) {
	fields := strings.Fields(text)
	if len(fields) != 1 && len(fields) != 2 {
		return Answer{}, fmt.Errorf("%q is no process ID and slot", text)
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil || pid <= 0 {
		return Answer{}, fmt.Errorf("%q is no process ID", fields[0])
	}
	if len(fields) == 1 {
		return Answer{PID: pid, Slot: Unknown}, nil
	}
	slot, err := strconv.ParseUint(fields[1], 10, 8)
	if err != nil {
		return Answer{}, fmt.Errorf("%q is no slot", fields[1])
	}
	return Answer{PID: pid, Slot: int(slot)}, nil
}
