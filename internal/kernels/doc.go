// Package kernels runs the tests of Go packages under other kernels than this
// machine's: Debian's stock ones, each booted by QEMU with software emulation.
//
// A kernel (Kernel) comes from a Debian archive, by meta package, and stays in a
// cache folder (Cache). A package's tests are built static (Build), travel in an
// initial file system with their testdata folder, and are run as root by a small
// init (cmd/init), whose exit code comes back through QEMU (Machine.Boot). Each
// kernel and package gets a boot of its own (Matrix).
//
// The guest has: proc, sysfs, devtmpfs, tracefs, cgroup v2 with its controllers
// on, bpffs (unless told otherwise), tmpfs on /tmp and /run, lo up, the modules
// in Modules, an /etc with root and nobody. It has no shell, no other programs
// and no network but what tests make. Time in it means nothing.
package kernels
