package main

import "github.com/sockdist/sockdist/internal/capabilities"

// What the tests of the real binary know of the table.
const (
	WithUser  = withUser
	Abandoned = abandoned
	OfOthers  = ofOthers
	Elsewhere = elsewhere
	Closed    = closed
	Unmounted = unmounted

	WithApps     = withApps
	WithGroups   = withGroups
	WithLowPorts = withLowPorts
	WithOwner    = withOwner
)

type Condition = condition

func Needs(verb string, when ...Condition) []capabilities.Capability { return needs(verb, when...) }
