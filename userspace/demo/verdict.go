package demo

import "fmt"

// tie is the difference below which two figures count as equal in a short run.
const tie = 0.1

// Verdict says in plain words what a result shows, whichever way it went.
func (r Result) Verdict() string {
	if r.Hash.Answered < 100 || r.Least.Answered < 100 {
		return "Too few connections were answered for a verdict; let it run for longer."
	}
	var text string
	switch ratio := r.Hash.P99 / r.Least.P99; {
	case ratio > 1+tie:
		text = fmt.Sprintf("sockdist wins: p99 is %.1f ms instead of %.1f ms, %.1f times better.", r.Least.P99, r.Hash.P99, ratio)
	case ratio < 1-tie:
		text = fmt.Sprintf("sockdist loses this time: p99 is %.1f ms, with the kernel's hash %.1f ms.", r.Least.P99, r.Hash.P99)
	default:
		text = fmt.Sprintf("A tie: p99 is %.1f ms with sockdist and %.1f ms with the kernel's hash.", r.Least.P99, r.Hash.P99)
	}
	text += fmt.Sprintf(" The longest queue of one worker was %d instead of %d.", r.Least.most(), r.Hash.most())
	if failed := r.Hash.Failed + r.Least.Failed; failed > 0 {
		text += fmt.Sprintf(" Connections that got no answer: %d with sockdist, %d with the hash.", r.Least.Failed, r.Hash.Failed)
	}
	return text
}

func (s Side) most() (most uint64) {
	for _, share := range s.Shares {
		most = max(most, share.Most)
	}
	return most
}
