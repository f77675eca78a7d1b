package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the longest latency that a histogram tells from longer ones.
const longest = 5 * time.Minute

// NewHistogram is an empty one of latencies, in µs, exact to three digits.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longest.Microseconds(), 3)
}

// Record adds a latency.
func Record(h *hdrhistogram.Histogram, latency time.Duration) {
	_ = h.RecordValue(min(max(latency, time.Microsecond), longest).Microseconds()) // it is within the bounds
}

// Histogram is of the latencies of those that were answered, in µs.
func Histogram(outcomes []Outcome) *hdrhistogram.Histogram {
	h := NewHistogram()
	for i := range outcomes {
		if outcomes[i].Err == nil {
			Record(h, outcomes[i].Latency)
		}
	}
	return h
}

// Encode gives HdrHistogram's own text form: V2, compressed, base64.
func Encode(h *hdrhistogram.Histogram) string {
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err) // it writes to memory
	}
	return string(text)
}
