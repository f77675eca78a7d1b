// Package daemon runs what a configuration names, for as long as it is in there:
// apps, each under a supervisor of its own as sockdist run has one; groups for
// workers that use the library; and running servers that are attached and
// watched.
//
// # Independence
//
// Each of them is a unit with a life of its own. One that can't start is tried
// again, after a second, then twice as long each time, at most half a minute;
// the others don't notice.
//
// # Changes
//
// [Daemon.Apply] reads the file again and compares it, unit by unit, with what
// was applied before. Only what differs is changed:
//
//	app, its policy           set on its groups
//	app, number of workers    scaled
//	app, how it is looked     another supervisor takes the workers over, in this
//	after (grace, hang …)     process; no worker notices
//	app, what its workers     the same, and then the workers are replaced one
//	are (command, env …)      after the other; if a new one doesn't get ready,
//	                          the old settings hold again
//	app, ports, udp or user   ended and started anew: its port is closed between
//	group, its address        removed and made anew
//	attachment                attached again, or detached before
//
// What fails is said, all else still happens, and what was applied stays as it
// was, so that the next Apply tries it again.
//
// # Memory
//
// What was applied is written to a file in the runtime folder. A daemon that
// was killed and starts again compares its configuration with that, so it ends
// what is configured no more, and reloads what changed meanwhile.
//
// # The end
//
// A signal ends the apps in order, as under sockdist run. Library groups and
// attachments stay steered, and their workers serve on.
package daemon
