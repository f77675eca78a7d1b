package report

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/sockdist/sockdist/bench/result"
)

// rounds is how many there are at most of a contender.
func rounds(c *result.CaseResult) (n int) {
	for i := range c.Rows {
		n = max(n, len(c.Rows[i].Rounds))
	}
	return n
}

// troubles are what went wrong in a row: errors, each once, and requests that
// weren't answered.
func troubles(row *result.Row) (all []string) {
	seen := map[string]int{}
	var order []string
	for _, s := range row.Rounds {
		if s.Error == "" {
			continue
		}
		text := oneLine(s.Error)
		if seen[text]++; seen[text] == 1 {
			order = append(order, text)
		}
	}
	for _, err := range order {
		all = append(all, fmt.Sprintf("%d of %s failed: %s", seen[err], many(len(row.Rounds), "round"), err))
	}
	if text := failed(row); text != "" {
		all = append(all, text)
	}
	return all
}

// failed tells of requests that weren't answered, in the rounds that count.
func failed(row *result.Row) string {
	lost, all := 0, 0
	for _, s := range row.Rounds {
		if s.Error == "" {
			lost += s.Failed
			all += s.Failed + s.Answered
		}
	}
	if lost == 0 {
		return ""
	}
	if all == lost {
		return many(lost, "request") + " failed"
	}
	return fmt.Sprintf("%d of %d requests failed (%s %%)", lost, all, number(100*float64(lost)/float64(all)))
}

// oneLine makes what a program said harmless: no lines, nothing for terminals.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}
