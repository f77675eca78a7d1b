package load

import (
	"math/rand/v2"
	"time"
)

// An Arrival is a request that is due.
type Arrival struct {
	At time.Duration
	// Service is for how long the worker is to be kept: GET /work?us=. With 0 it
	// is GET /.
	Service time.Duration
}

// Poisson are arrivals at random, as of very many clients that know nothing of
// each other: perSecond on average, until length. Their service times are mean
// times a draw of d; d "" or mean 0: none.
func Poisson(r *rand.Rand, perSecond float64, length time.Duration, d Distribution, mean time.Duration) []Arrival {
	arrivals := make([]Arrival, 0, int(perSecond*length.Seconds()*1.1)+16)
	for at := gap(r, perSecond); at < length; at += gap(r, perSecond) {
		arrivals = append(arrivals, Arrival{At: at, Service: d.service(r, mean)})
	}
	return arrivals
}

// gap is the time between two.
func gap(r *rand.Rand, perSecond float64) time.Duration {
	return time.Duration(r.ExpFloat64() / perSecond * float64(time.Second))
}

// service is never 0 if there is any: that would be another request.
func (d Distribution) service(r *rand.Rand, mean time.Duration) time.Duration {
	if d == "" || mean == 0 {
		return 0
	}
	return max(1, time.Duration(d.Draw(r)*float64(mean)))
}
