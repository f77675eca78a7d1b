package pick

import (
	"slices"

	"github.com/sockdist/sockdist/loader"
)

// A Figure is a row's cost at one number of slots. All but Clock and Runs are
// without the clock's cost; low and high are the quartiles over the rounds.
type Figure struct {
	Name      string  `json:"name"`
	Runs      uint64  `json:"runs"`
	NS        float64 `json:"ns"` // the median
	Low       float64 `json:"low"`
	High      float64 `json:"high"`
	Ratio     float64 `json:"ratio,omitempty"` // to the bare hash-select of the same round; the median
	RatioLow  float64 `json:"ratio_low,omitempty"`
	RatioHigh float64 `json:"ratio_high,omitempty"`
}

// columnOf turns rounds into figures. Every row of a round is compared with the
// empty program and the bare hash-select of the same round.
func columnOf(slots int, samples []sample) Column {
	clock, floor := rowNamed(clockRow), rowNamed(floorRow)
	c := Column{Slots: slots}
	for i, k := range kinds {
		f := Figure{Name: k.name}
		var ns, ratios []float64
		for _, s := range samples {
			f.Runs += s.rows[i].Count
			off := perRun(s.rows[clock])
			if i == clock {
				off = 0
			}
			ns = append(ns, perRun(s.rows[i])-off)
			ratios = append(ratios, (perRun(s.rows[i])-off)/(perRun(s.rows[floor])-perRun(s.rows[clock])))
		}
		f.Low, f.NS, f.High = quartiles(ns)
		if i != clock {
			f.RatioLow, f.Ratio, f.RatioHigh = quartiles(ratios)
		}
		c.Rows = append(c.Rows, f)
	}
	c.Account = accountFigure(samples, clock)
	return c
}

func accountFigure(samples []sample, clock int) Figure {
	f := Figure{Name: "account"}
	var ns []float64
	for _, s := range samples {
		f.Runs += s.account.Count
		ns = append(ns, perRun(s.account)-perRun(s.rows[clock]))
	}
	f.Low, f.NS, f.High = quartiles(ns)
	return f
}

func rowNamed(name string) int {
	return slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
}

func (c Column) row(name string) Figure { return c.Rows[rowNamed(name)] }

func perRun(r loader.Runs) float64 {
	return float64(r.Time.Nanoseconds()) / float64(max(r.Count, 1))
}

func quartiles(values []float64) (low, median, high float64) {
	slices.Sort(values)
	at := func(share float64) float64 {
		place := share * float64(len(values)-1)
		i := int(place)
		next := min(i+1, len(values)-1)
		return values[i] + (values[next]-values[i])*(place-float64(i))
	}
	return at(0.25), at(0.5), at(0.75)
}
