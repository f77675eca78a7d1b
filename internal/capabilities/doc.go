// Package capabilities names the capabilities of Linux, reads those that this
// process has, and gives up the ones that it needs no longer.
//
// What is given up is gone for every thread of the process and for good: a
// process can't raise what it isn't permitted. A program that it starts is
// another matter. If that runs as root, it gets all of the bounding set back,
// unless no_new_privs is set; see docs/SECURITY.md.
package capabilities
