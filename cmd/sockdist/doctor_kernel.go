package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"golang.org/x/sys/unix"
)

func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}

// checkKernel only warns of an old version: distributions bring new features to
// old versions, and the features are tried one by one.
func checkKernel(release string) check {
	c := check{Name: "kernel", Level: levelOK, Found: fmt.Sprintf("Linux %s (%s or newer is needed)", release, loader.FloorKernel)}
	if olderThan(release, loader.FloorKernel) {
		c.Level = levelWarn
		c.Advice = fmt.Sprintf("use Linux %s or newer, unless all lines below are ok", loader.FloorKernel)
	}
	return c
}

// olderThan compares the first two numbers of versions such as 6.1.0-35-amd64.
func olderThan(release, floor string) bool {
	major, minor, okRelease := majorMinor(release)
	floorMajor, floorMinor, okFloor := majorMinor(floor)
	return okRelease && okFloor && (major < floorMajor || major == floorMajor && minor < floorMinor)
}

func majorMinor(release string) (major, minor int, valid bool) {
	first, rest, _ := strings.Cut(release, ".")
	second := rest
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		second = rest[:end]
	}
	major, err1 := strconv.Atoi(first)
	minor, err2 := strconv.Atoi(second)
	return major, minor, err1 == nil && err2 == nil
}

// checkFeatures makes a line of each kind of feature, and one of each that is
// missing, or of every single one if detailed.
func checkFeatures(features []loader.Feature, release string, r rights, detailed bool) (checks []check) {
	for len(features) > 0 {
		n := 1
		for n < len(features) && features[n].Kind == features[0].Kind {
			n++
		}
		checks = append(checks, checkKind(features[:n], release, r, detailed)...)
		features = features[n:]
	}
	return checks
}

func checkKind(features []loader.Feature, release string, r rights, detailed bool) (checks []check) {
	var there []string
	denied := false
	for _, f := range features {
		switch {
		case f.Err == nil && !detailed:
			there = append(there, f.Name)
		case f.Denied() && !detailed && denied:
			// once is enough
		default:
			checks = append(checks, checkFeature(f, release, r))
			denied = denied || f.Denied()
		}
	}
	if len(there) == len(features) {
		return []check{{Name: string(features[0].Kind), Level: levelOK, Found: enumerate(features[0].Kind, there)}}
	}
	return checks
}

// enumerate says briefly what is there; all names come with --verbose.
func enumerate(kind loader.FeatureKind, names []string) string {
	switch kind {
	case loader.FeatureTypes, loader.FeatureInstruction:
		return strings.Join(names, ", ")
	case loader.FeatureProgram, loader.FeatureMap:
		return fmt.Sprintf("all %d", len(names))
	case loader.FeatureHelper:
		return fmt.Sprintf("all %d that the programs call", len(names))
	case loader.FeatureObject:
		return fmt.Sprintf("all %d pass the verifier", len(names))
	case loader.FeatureTrial:
		return "8 connections spread evenly, were counted, and moved on when a socket closed"
	}
	return strings.Join(names, ", ")
}

func checkFeature(f loader.Feature, release string, r rights) check {
	c := check{Name: string(f.Kind), Level: levelFail}
	switch {
	case f.Err == nil:
		c.Level, c.Found = levelOK, f.Name
	case f.Denied():
		c.Found = "can't tell: " + reason(f.Err)
		c.Advice = r.adviceIfDenied()
		if f.Kind == loader.FeatureTrial {
			c.Level = levelWarn // the parts are what counts; namespaces for the trial may be more than they need
		}
	case f.Missing() && f.Kind == loader.FeatureObject && !olderThan(release, f.MinKernel):
		c.Found = fmt.Sprintf("%s is refused: %s", f.Name, reason(f.Err))
		c.Advice = "report it with the output of sockdist doctor --verbose: no kernel from " + f.MinKernel + " on should do that"
	case f.Missing():
		c.Found = fmt.Sprintf("%s is missing: %s", f.Name, reason(f.Err))
		c.Advice = fmt.Sprintf("use Linux %s or newer (%s has it from %s on)", loader.FloorKernel, f.Name, f.MinKernel)
		if !olderThan(release, f.MinKernel) {
			c.Advice = "use the kernel of a distribution: this one was built without it"
		}
	default:
		c.Found = fmt.Sprintf("%s: %s", f.Name, reason(f.Err))
	}
	return c
}

// reason is what the kernel said, without what we made of it, in one line.
func reason(err error) string {
	var unsupported *loader.UnsupportedError
	if errors.As(err, &unsupported) && unsupported.Err != nil {
		err = unsupported.Err
	}
	// cilium/ebpf adds this to every EPERM; since Linux 5.11 it is never the cause.
	return strings.ReplaceAll(oneLine(err), " (MEMLOCK may be too low, consider rlimit.RemoveMemlock)", "")
}
