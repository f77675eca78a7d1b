// Package report shows what a run of the comparison found: as a table for a
// terminal, as one HTML page that needs no network, and as a short table in
// Markdown. Figures must have been judged (result.CaseResult.Judge). Values are
// in the units of their metrics; ratios are to the baseline of a case.
package report
