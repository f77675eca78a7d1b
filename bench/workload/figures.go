package workload

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sockdist/sockdist/bench/load"
	"github.com/sockdist/sockdist/bench/result"
)

// quantiles are the metrics of latency that cases have, in percent.
var quantiles = map[string]float64{"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9, "max": 100}

// latency is a metric of that name.
func latency(name string) result.Metric {
	title := "latency, " + name
	if name == "max" {
		title = "longest latency"
	}
	return result.Metric{Name: name, Title: title, Unit: "ms"}
}

func latencies(names ...string) (all []result.Metric) {
	for _, name := range names {
		all = append(all, latency(name))
	}
	return all
}

// milliseconds is a quantile, in percent, of a histogram in µs.
func milliseconds(h *hdrhistogram.Histogram, percent float64) float64 {
	return float64(h.ValueAtQuantile(percent)) / 1e3
}

// tolerable is the share of failures up to which latencies still mean something.
const tolerable = 0.01

// answered sums outcomes up: all quantiles, and the histogram. With more failures
// than are tolerable the sample is an error.
func answered(outcomes []load.Outcome) result.Sample {
	h := load.Histogram(outcomes)
	sample := result.Sample{Values: map[string]float64{}, Answered: int(h.TotalCount()), Histogram: load.Encode(h)}
	for name, percent := range quantiles {
		sample.Values[name] = milliseconds(h, percent)
	}
	sample.Failed = len(outcomes) - sample.Answered
	sample.Error = excuse(sample.Failed, len(outcomes), firstError(outcomes))
	return sample
}

func firstError(outcomes []load.Outcome) error {
	for i := range outcomes {
		if outcomes[i].Err != nil {
			return outcomes[i].Err
		}
	}
	return nil
}

// excuse is why so many failures don't count as a measurement; "" if they do.
func excuse(failed, of int, first error) string {
	switch {
	case of == 0:
		return "nothing was asked"
	case float64(failed) > tolerable*float64(of):
		return fmt.Sprintf("%d of %d requests failed, the first: %v", failed, of, first)
	}
	return ""
}
