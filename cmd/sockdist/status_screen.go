package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A screen shows one text after the other: in place on a terminal, else one
// below the other with the time above.
type screen struct {
	out      io.Writer
	terminal bool
	height   func() int // lines; 0 if unknown
	begun    bool
	last     string
}

func newScreen(e *environment) *screen {
	s := &screen{out: e.out, terminal: e.terminal, height: func() int { return 0 }}
	if file, ok := e.out.(*os.File); ok && e.terminal {
		s.height = func() int { return terminalHeight(file) }
	}
	return s
}

func terminalHeight(file *os.File) int {
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Row)
}

// The terminal's alternate screen keeps what was there before, and gives it
// back. What was shown last is then printed below it.
const (
	enterAlternate = "\x1b[?1049h\x1b[?25l" // without a cursor
	leaveAlternate = "\x1b[?25h\x1b[?1049l"
	toTheTop       = "\x1b[H"
	clearLine      = "\x1b[K"
	clearBelow     = "\x1b[J"
)

func (s *screen) show(text string) error {
	stamp := time.Now().Format(time.TimeOnly)
	s.last = stamp + "\n" + text
	if !s.terminal {
		separator := ""
		if s.begun {
			separator = "\n"
		}
		s.begun = true
		_, err := io.WriteString(s.out, separator+s.last)
		return err
	}
	var frame strings.Builder
	if !s.begun {
		frame.WriteString(enterAlternate)
		s.begun = true
	}
	frame.WriteString(toTheTop)
	for _, line := range clip(stamp+"  Ctrl-C ends\n"+text, s.height()) {
		frame.WriteString(line + clearLine + "\n")
	}
	frame.WriteString(clearBelow)
	_, err := io.WriteString(s.out, frame.String())
	return err
}

// clip leaves out what has no room in so many lines, the last of which stays empty.
func clip(text string, height int) []string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if height < 3 || len(lines) < height {
		return lines
	}
	room := height - 2
	return append(lines[:room:room], fmt.Sprintf("… %d more lines: name a group, or make the window larger", len(lines)-room))
}

func (s *screen) close() {
	if s.terminal && s.begun {
		fmt.Fprint(s.out, leaveAlternate+s.last)
	}
}
