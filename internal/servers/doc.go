// Package servers starts real servers for tests, as their users run them: no
// patches, no special settings but those that a test can't do without (idle
// connections stay open, files in the test's own folder). Each answers GET /
// with the process ID of the worker that served it, as package clients expects.
//
// [Node], [Express], [Python], [Go] and [Lighttpd] are single processes, which
// listen on one port without SO_REUSEPORT: they are for sockdist run, by
// their [Server.Command]. [Nginx] brings its own workers and its own group: it
// is for sockdist attach.
//
// [Start] runs one alone and waits until it answers. It ends with the test, and
// also when the test binary is killed. Programs come from make deps, which
// installs what the file DEPS lists, one "apt PACKAGE" or "npm FOLDER" a line;
// a test whose program is absent is skipped by name, and fails in continuous
// integration.
package servers
