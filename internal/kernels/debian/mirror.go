package debian

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
)

// ErrNoMirror is wrapped when this machine's apt sources name no Debian archive.
var ErrNoMirror = errors.New("no Debian archive among this machine's apt sources")

// Mirror is where a Debian archive is.
type Mirror struct {
	Main     string // the address of the folder "debian"
	Security string // the address of the folder "debian-security"
}

// MirrorUnder is the mirror whose two folders lie below one address.
func MirrorUnder(address string) Mirror {
	base := strings.TrimRight(address, "/")
	return Mirror{Main: base + "/debian", Security: base + "/debian-security"}
}

// MachineMirror reads the mirror from this machine's own apt sources.
func MachineMirror(ctx context.Context) (Mirror, error) {
	out, err := output(command(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"))
	if err != nil {
		return Mirror{}, fmt.Errorf("read this machine's apt sources: %w", err)
	}
	return mirrorOf(strings.Fields(out))
}

// mirrorOf picks the two folders out of repository addresses. Where only one is
// named, the other is taken to lie beside it, as on most mirrors.
func mirrorOf(addresses []string) (Mirror, error) {
	var m Mirror
	for _, address := range addresses {
		address = strings.TrimRight(address, "/")
		switch name := path.Base(address); {
		case name == "debian" && m.Main == "":
			m.Main = address
		case name == "debian-security" && m.Security == "":
			m.Security = address
		}
	}
	switch {
	case m.Main == "" && m.Security == "":
		return m, fmt.Errorf("%w: give the address of one that holds debian/ and debian-security/", ErrNoMirror)
	case m.Main == "":
		m.Main = strings.TrimSuffix(m.Security, "-security")
	case m.Security == "":
		m.Security = m.Main + "-security"
	}
	return m, nil
}
