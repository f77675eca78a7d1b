package main

import (
	"strings"
	"unicode/utf8"
)

// columns is a table, indented by two, whose columns are as wide as what is in them.
type columns struct {
	heads []tableHead
	rows  [][]tableCell
}

type tableHead struct {
	text        string
	alignsRight bool
}

type tableCell struct {
	text   string
	colour func(string) string // nil for none
}

func left(text string) tableHead { return tableHead{text: text} }

func (h tableHead) right() tableHead { return tableHead{h.text, true} }

func cell(text string) tableCell { return tableCell{text: text} }

func (c tableCell) in(colour func(string) string) tableCell { return tableCell{c.text, colour} }

func newColumns(heads ...tableHead) *columns { return &columns{heads: heads} }

func (c *columns) add(cells ...tableCell) { c.rows = append(c.rows, cells) }

func (c *columns) text(p paint) string {
	head := make([]tableCell, len(c.heads))
	for i, h := range c.heads {
		head[i] = cell(h.text).in(p.bold)
	}
	rows := append([][]tableCell{head}, c.rows...)
	widths := make([]int, len(c.heads))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell.text))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(strings.TrimRight(c.line(row, widths), " ") + "\n")
	}
	return b.String()
}

func (c *columns) line(row []tableCell, widths []int) string {
	var b strings.Builder
	for i, cell := range row {
		padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell.text))
		text := cell.text
		if cell.colour != nil {
			text = cell.colour(text)
		}
		b.WriteString("  ")
		if c.heads[i].alignsRight {
			b.WriteString(padding + text)
		} else {
			b.WriteString(text + padding)
		}
	}
	return b.String()
}
