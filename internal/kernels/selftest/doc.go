// Package selftest has no code: its tests check, inside a guest of package
// kernels, that the guest is what that package promises. Elsewhere they skip.
package selftest
