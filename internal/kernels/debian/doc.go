// Package debian gets kernels out of a Debian archive with the tools of apt, and
// without touching the machine's own package state: its index, cache and sources
// live in a folder of the caller.
//
// Needed on the machine: apt-get, apt-cache, dpkg-deb, xz (or zstd, where a
// kernel's modules are packed that way) and Debian's archive keyring.
package debian

// Keyring holds the keys that sign a Debian archive.
const Keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Architecture is the one that the kernels are for, whatever this machine's is.
const Architecture = "amd64"
