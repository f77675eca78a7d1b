package sockets

import (
	"testing"

	"github.com/sockdist/sockdist/internal/sockdiag"
)

// FuzzDecode makes sure that no answer can break the decoder.
func FuzzDecode(f *testing.F) {
	f.Add(make([]byte, sockdiag.MessageSize))
	f.Add(make([]byte, sockdiag.MessageSize-1))
	f.Add(append(make([]byte, sockdiag.MessageSize), 5, 0, attributeV6Only, 0, 1, 0, 0, 0, 3, 0, 0, 0))
	f.Add(append(make([]byte, sockdiag.MessageSize), 14, 0, attributeULP, 0x80, 10, 0, attributeULPIs, 0, 'm', 'p', 't', 'c', 'p', 0))
	f.Fuzz(func(t *testing.T, message []byte) {
		if _, err := decode(message); (err != nil) != (len(message) < sockdiag.MessageSize) {
			t.Errorf("%d bytes: %v", len(message), err)
		}
	})
}

func TestDecodeAttributes(t *testing.T) {
	message := append(make([]byte, sockdiag.MessageSize),
		5, 0, attributeV6Only, 0, 1, 0, 0, 0,
		14, 0, attributeULP, 0x80, 10, 0, attributeULPIs, 0, 'm', 'p', 't', 'c', 'p', 0)
	s, err := decode(message)
	if err != nil || !s.v6Only || s.ulp != "mptcp" {
		t.Errorf("decoded %+v, %v", s, err)
	}
}
