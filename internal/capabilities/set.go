package capabilities

import "strings"

// A Set is a set of capabilities; bit n stands for capability n.
type Set uint64

// Of makes a set.
func Of(some ...Capability) (s Set) {
	for _, c := range some {
		s |= 1 << c
	}
	return s
}

// Has tells whether the capability is in the set.
func (s Set) Has(c Capability) bool { return s&(1<<c) != 0 }

// Allows tells whether the set has the capability, or a wider one that the
// kernel takes in its place: CAP_SYS_ADMIN for CAP_BPF.
func (s Set) Allows(c Capability) bool {
	instead, ok := wider[c]
	return s.Has(c) || ok && s.Has(instead)
}

// Missing are those of the wanted that the set doesn't allow.
func (s Set) Missing(wanted Set) (missing Set) {
	for _, c := range wanted.List() {
		if !s.Allows(c) {
			missing |= 1 << c
		}
	}
	return missing
}

// covering is what of the set is needed for the wanted: they themselves, or the
// wider ones where they are lacking.
func (s Set) covering(wanted Set) (some Set) {
	some = s & wanted
	for _, c := range (wanted &^ s).List() {
		if instead, ok := wider[c]; ok && s.Has(instead) {
			some |= Of(instead)
		}
	}
	return some
}

// List is in the order of the kernel's numbers.
func (s Set) List() (all []Capability) {
	for c := range Capability(64) {
		if s.Has(c) {
			all = append(all, c)
		}
	}
	return all
}

// String lists the names, with commas; "none" if there are none.
func (s Set) String() string {
	var names []string
	for _, c := range s.List() {
		names = append(names, c.String())
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
