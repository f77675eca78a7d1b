package load

import (
	"strconv"
	"time"
)

// request appends what asks for a service time; 0: for nothing but an answer.
func request(b []byte, service time.Duration, keep bool) []byte {
	b = append(b, "GET /"...)
	if service > 0 {
		b = append(b, "work?us="...)
		b = strconv.AppendFloat(b, float64(service)/float64(time.Microsecond), 'f', -1, 64)
	}
	b = append(b, " HTTP/1.1\r\nHost: bench\r\n"...)
	if !keep {
		b = append(b, "Connection: close\r\n"...)
	}
	return append(b, "\r\n"...)
}
