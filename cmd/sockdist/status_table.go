package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/loader"
)

// table is the status for people.
func (s *status) table(p paint) string {
	if len(s.Earlier) > 0 {
		rest := &status{Groups: s.Groups, Apps: s.Apps}
		if len(s.Groups)+len(s.Apps) == 0 {
			return s.earlierLine(p)
		}
		return s.earlierLine(p) + "\n" + rest.table(p)
	}
	if len(s.Groups)+len(s.Apps) == 0 {
		return "no groups: sockdist run starts an app, sockdist attach steers a running server\n"
	}
	var parts []string
	for _, app := range s.Apps {
		parts = append(parts, app.line(p))
	}
	apps := strings.Join(parts, "")
	if len(s.Groups) == 0 {
		return apps
	}
	parts = nil
	for _, g := range s.Groups {
		parts = append(parts, g.block(p))
	}
	if apps != "" {
		apps += "\n"
	}
	return apps + strings.Join(parts, "\n")
}

func (a appStatus) line(p paint) string {
	states := make(map[string]int)
	for _, w := range a.Workers {
		states[w.State]++
	}
	text := fmt.Sprintf("app %s: %s", p.bold(a.Name), count(len(a.Workers), "worker"))
	for _, state := range []string{loader.Starting.String(), loader.Draining.String(), loader.Ejected.String(), loader.Gone.String()} {
		if n := states[state]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, state)
		}
	}
	if a.PID != 0 {
		text += fmt.Sprintf(", supervisor %d\n", a.PID)
	} else {
		text += ", " + p.uneasy("no supervisor, so no worker is started again") + "\n"
	}
	for _, remark := range a.remarks() {
		text += "  " + p.uneasy("! "+remark) + "\n"
	}
	return text
}

// block is a group's header, what is wrong with it, and its slots.
func (g groupStatus) block(p paint) string {
	var b strings.Builder
	b.WriteString(g.header(p) + "\n")
	for _, warning := range g.warnings() {
		b.WriteString("  " + p.uneasy("! "+warning) + "\n")
	}
	if len(g.Slots) == 0 {
		b.WriteString("  no slots: nobody listens\n")
		return b.String()
	}
	b.WriteString(g.slotTable(p))
	return b.String()
}

func (g groupStatus) header(p paint) string {
	parts := []string{fmt.Sprintf("%s  %s://%s  policy %s", p.bold(g.Name), g.Protocol, g.Address, g.Policy)}
	if g.V6Only {
		parts[0] += "  v6only"
	}
	if g.App != "" {
		parts = append(parts, "app "+g.App)
	}
	if !g.namespace.ours {
		parts = append(parts, "netns "+g.namespaceName())
	}
	for _, c := range []struct {
		n    uint64
		what string
	}{
		{g.Refused, "refused"},
		{g.Fallback, "by the kernel's hash"},
		{g.Migrated, "migrated"},
		{g.MigrateFailed, "lost in migration"},
	} {
		if c.n > 0 {
			parts = append(parts, humane(c.n)+" "+c.what)
		}
	}
	return strings.Join(parts, "  ")
}

func (g groupStatus) namespaceName() string {
	if name := g.namespace.name(); name != "" {
		return name
	}
	return fmt.Sprint(g.NetNS)
}

// warnings are what an operator should know before reading numbers.
func (g groupStatus) warnings() (lines []string) {
	if err := g.namespace.err; err != nil {
		lines = append(lines, "its network namespace is out of reach, backlogs and who steers are unknown: "+oneLine(err))
	}
	if err := g.namespace.blind; err != nil {
		lines = append(lines, "can't tell whether it steers: "+oneLine(err))
	}
	if g.Steering != nil && !*g.Steering && len(g.Slots) > 0 {
		lines = append(lines, g.whyNotSteering())
	}
	if len(g.Strangers) > 0 {
		lines = append(lines, g.strangersWarning())
	}
	return lines
}

func (g groupStatus) whyNotSteering() string {
	listens := slices.ContainsFunc(g.Slots, func(s slotStatus) bool { return s.State != loader.Gone.String() })
	switch {
	case !listens:
		return "not steering: nobody listens any more, and clients are refused"
	case g.program != 0:
		return fmt.Sprintf("not steering: another program (id %d) chooses; bpftool prog show id %d tells more", g.program, g.program)
	case g.App != "":
		return "not steering: the kernel's hash chooses"
	}
	return "not steering: the kernel's hash chooses; " + g.attachCommand() + " steers again"
}

// attachCommand is what brings the group's slots and steering up to date.
func (g groupStatus) attachCommand() string {
	command := "sockdist attach " + g.Protocol + "://" + g.Address
	if !g.namespace.ours {
		command += " --netns " + g.namespaceName()
	}
	return command
}

func (g groupStatus) strangersWarning() string {
	text := fmt.Sprintf("%s of this address without a slot, reached by the kernel's hash only: %s",
		count(len(g.Strangers), "socket"), strings.Join(strangerNames(g.Strangers), ", "))
	if g.App == "" {
		text += "; " + g.attachCommand() + " gives slots"
	}
	return text
}

func strangerNames(strangers []strangerStatus) (names []string) {
	for _, s := range strangers {
		name := fmt.Sprintf("%s (pid %d)", s.Process, s.PID)
		if s.PID == 0 {
			name = "nobody's that can be seen"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (g groupStatus) slotTable(p paint) string {
	t := newColumns(
		left("slot").right(), left("pid").right(), left("process"), left("state"), left("weight").right(), left("max").right(),
		left("connections").right(), left("pending").right(), left("load").right(), left("backlog").right(), left("picks").right(), left("migrated").right(),
	)
	var sum slotStatus
	for _, s := range g.Slots {
		t.add(s.cells(p)...)
		sum.Connections += s.Connections
		sum.Pending += s.Pending
		sum.Load += s.Load
		sum.Picks += s.Picks
		sum.Migrated += s.Migrated
	}
	if len(g.Slots) > 1 {
		t.add(cell("all"), cell(""), cell(""), cell(""), cell(""), cell(""), number(sum.Connections), number(sum.Pending), number(sum.Load),
			backlogCell(g.backlog()), number(sum.Picks), number(sum.Migrated))
	}
	return t.text(p)
}

// backlog is that of all slots, nil if it isn't known of each.
func (g groupStatus) backlog() *uint32 {
	var sum uint32
	for _, s := range g.Slots {
		if s.Backlog == nil {
			return nil
		}
		sum += *s.Backlog
	}
	return &sum
}

func (s slotStatus) cells(p paint) []tableCell {
	pid, process := cell("-"), cell("-")
	if s.PID != 0 {
		pid, process = cell(fmt.Sprint(s.PID)), cell(s.Process)
		if s.Process == "" {
			process = cell("(ended)")
		}
	}
	limit := cell("-")
	if s.Max != 0 {
		limit = number(uint64(s.Max))
	}
	if s.Max != 0 && s.Connections+s.Pending >= uint64(s.Max) {
		limit = cell(limit.text + " full").in(p.uneasy)
	}
	return []tableCell{
		cell(fmt.Sprint(s.Slot)), pid, process, stateCell(s.State, p), cell(fmt.Sprint(s.Weight)), limit,
		number(s.Connections), number(s.Pending), number(s.Load), backlogCell(s.Backlog), number(s.Picks), number(s.Migrated),
	}
}

func stateCell(state string, p paint) tableCell {
	switch state {
	case loader.Live.String():
		return cell(state)
	case loader.Gone.String():
		return cell(state).in(p.bad)
	}
	return cell(state).in(p.uneasy)
}

func backlogCell(backlog *uint32) tableCell {
	if backlog == nil {
		return cell("?")
	}
	return number(uint64(*backlog))
}

func number(n uint64) tableCell { return cell(humane(n)) }

// humane is exact up to 99,999, and of three digits above: 123k, 1.23M, 12.3G.
func humane(n uint64) string {
	if n < 100_000 {
		return fmt.Sprint(n)
	}
	value, unit := float64(n), ""
	for _, next := range []string{"k", "M", "G", "T", "P", "E"} {
		value, unit = value/1000, next
		if value < 999.5 {
			break
		}
	}
	switch {
	case value < 9.995:
		return fmt.Sprintf("%.2f%s", value, unit)
	case value < 99.95:
		return fmt.Sprintf("%.1f%s", value, unit)
	}
	return fmt.Sprintf("%.0f%s", value, unit)
}

// count is "1 worker" or "4 workers".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
