// Package sockets answers, from outside of any server, which TCP sockets
// listen, which processes hold and serve them, and how to get at them.
//
// It asks the kernel by sock_diag, which tells of every socket of one network
// namespace, and reads /proc, which tells of every process that this one may
// look into. Nothing here stops a process, and only Rescue changes a socket.
//
// # What it takes
//
// Listing sockets takes no privilege, except that kernels before 6.15 name the
// MPTCP listeners only to a caller with CAP_NET_ADMIN. Looking into the
// processes of others takes CAP_SYS_PTRACE, and so does fetching their sockets.
// Another network namespace takes CAP_SYS_ADMIN.
//
// Reading the backlogs of one port (Backlogs) takes 50 µs with a few listeners
// and 110 µs with 100, all of Listeners 55 to 230 µs; most of it is the socket
// for the question. So it can be done ten times a second without a thought.
//
// # Units and numbers
//
// A process is named by its PID together with its start time, in clock ticks
// since boot: the kernel gives a PID to another process one day, but not with
// the same start. A socket is named by its cookie, which is never given
// twice between two boots. An inode number, which is how /proc names a socket,
// stays the same for as long as somebody holds the socket, and can come again
// afterwards.
//
// # Errors
//
// A process that is gone is an error that wraps os.ErrProcessDone, a missing
// privilege one that wraps fs.ErrPermission.
package sockets
