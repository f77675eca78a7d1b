package packets

import (
	"net/netip"
	"testing"
)

var segments = []segment{
	{
		from: netip.MustParseAddrPort("198.18.16.0:1024"), to: netip.MustParseAddrPort("198.18.0.1:80"),
		seq: 0xfedcba98, flags: flagSYN,
	},
	{
		from: netip.MustParseAddrPort("[fd00::1000]:65535"), to: netip.MustParseAddrPort("[fd00::1]:1"),
		seq: 1, ack: 0xffffffff, flags: flagRST | flagACK,
	},
}

func TestParseReadsWhatPacketWrites(t *testing.T) {
	for _, want := range segments {
		got, ok := parse(want.packet())
		if !ok || got != want {
			t.Errorf("got %+v, %v, want %+v", got, ok, want)
		}
	}
}

// What a namespace sends is its kernel's affair: no packet may end the test.
func FuzzParse(f *testing.F) {
	for _, s := range segments {
		packet := s.packet()
		f.Add(packet)
		f.Add(packet[:len(packet)-len(mss)-1])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, packet []byte) {
		s, ok := parse(packet)
		if ok && !(s.from.IsValid() && s.to.IsValid()) {
			t.Errorf("parsed without addresses: %+v", s)
		}
	})
}
