package loader

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/sockdist/sockdist/internal/privilege"
)

// Every program must pass the verifier of the kernel at hand.
func TestEveryProgramLoads(t *testing.T) {
	privilege.Require(t)
	spec, err := objectSpec()
	if err != nil {
		t.Fatal(err)
	}
	for name := range spec.Programs {
		t.Run(name, func(t *testing.T) {
			only := spec.Copy()
			for other := range only.Programs {
				if other != name {
					delete(only.Programs, other)
				}
			}
			c, err := ebpf.NewCollection(only)
			var verifier *ebpf.VerifierError
			if errors.As(err, &verifier) {
				log := verifier.Log
				t.Fatalf("%v\n%v", err, log[max(0, len(log)-40):])
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if info, err := c.Programs[name].Info(); err == nil {
				n, _ := info.VerifiedInstructions()
				stack := info
				_ = stack
				t.Logf("%d instructions verified", n)
			}
		})
	}
}
