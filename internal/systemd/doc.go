// Package systemd is how `sockdist run` talks with the service manager that
// started it: it says when the app is ready and what it does, keeps the
// watchdog quiet, and takes the sockets that the manager listened on before.
//
// A [Manager] comes from the environment, once, before anything else is
// started: [FromEnvironment] removes what it read, because a worker that found
// NOTIFY_SOCKET would speak for the app, and one that found LISTEN_FDS would
// take descriptors for its own which it doesn't have.
//
// # Messages
//
// No method waits for the manager. Messages go out in the order in which they
// were given, by a goroutine that lives as long as there are some; one that
// can't be delivered is an entry in the log, the first time, and nothing else:
// an app doesn't end because somebody who watches it is gone. All methods work
// on a nil Manager, and do nothing there or where no manager is.
//
// The calls mean, to a unit with Type=notify or notify-reload:
//
//	Ready       the app serves; `systemctl start` returns
//	Reloading   a reload has begun; every one must be followed by Reloaded,
//	            also when it failed, or the unit stays "reloading"
//	Stopping    the end has begun; from here on the stop timeout runs
//	Status      the line that `systemctl status` shows
//	Alive       the watchdog's food
//
// # Sockets
//
// See [Manager.Listeners], and activation_test.go, which shows on real sockets
// in what order they have to be handled so that no connection is lost.
package systemd
