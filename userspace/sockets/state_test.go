package sockets

import "testing"

func TestStateString(t *testing.T) {
	// The kernel's numbers of include/net/tcp_states.h.
	for number, want := range map[State]string{1: "established", 3: "syn-recv", 6: "time-wait", 10: "listen", 11: "closing", 0: "state 0", 12: "state 12"} {
		if got := number.String(); got != want {
			t.Errorf("state %d is %q, want %q", uint8(number), got, want)
		}
	}
}
