package sockets

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// ErrAddress is wrapped by every error of ParseAddress.
var ErrAddress = errors.New("not an address to listen on")

// Address is what a user says to mean a group of listeners. The zero Address
// means every listener there is.
type Address struct {
	// Host is the local address, never an IPv4 address in IPv6 clothes. The
	// zero Addr means the wildcards of both families, 0.0.0.0 and :: only
	// that one.
	Host netip.Addr
	// Port is from 1 to 65535, or 0 for any.
	Port uint16
}

// ParseAddress reads :80, *:80, 127.0.0.1:80, [::1]:80 and the same after
// tcp://, tcp4:// or tcp6://. Names are refused, since one can stand for
// several addresses and change its mind. Errors wrap ErrAddress.
func ParseAddress(text string) (Address, error) {
	a, reason := parseAddress(text)
	if reason != "" {
		return Address{}, fmt.Errorf("%q is %w: %s", text, ErrAddress, reason)
	}
	return a, nil
}

// parseAddress returns the reason why text is no address, or "".
func parseAddress(text string) (a Address, reason string) {
	wildcard, rest, reason := cutScheme(text)
	if reason != "" {
		return Address{}, reason
	}
	host, port, reason := splitPort(rest)
	if reason != "" {
		return Address{}, reason
	}

	if a.Port, reason = parsePort(port); reason != "" {
		return Address{}, reason
	}
	if host == "" || host == "*" {
		a.Host = wildcard
		return a, ""
	}
	if a.Host, reason = parseHost(host, port); reason != "" {
		return Address{}, reason
	}
	if wildcard.IsValid() && wildcard.Is4() != a.Host.Is4() {
		return Address{}, fmt.Sprintf("%s is of the other family, write tcp://", host)
	}
	return a, ""
}

// cutScheme takes tcp://, tcp4:// or tcp6:// off and returns which wildcard an
// empty host then means.
func cutScheme(text string) (wildcard netip.Addr, rest, reason string) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return netip.Addr{}, text, ""
	}
	switch scheme {
	case "tcp":
		return netip.Addr{}, rest, ""
	case "tcp4":
		return netip.IPv4Unspecified(), rest, ""
	case "tcp6":
		return netip.IPv6Unspecified(), rest, ""
	}
	return netip.Addr{}, "", fmt.Sprintf("%s:// is unknown, use tcp://, tcp4:// or tcp6://", scheme)
}

func splitPort(text string) (host, port, reason string) {
	host, port, err := net.SplitHostPort(text)
	if err == nil {
		if strings.HasPrefix(text, "[") && !strings.Contains(host, ":") {
			return "", "", fmt.Sprintf("brackets are for IPv6, write %s:%s", host, port)
		}
		return host, port, ""
	}

	if _, notANumber := strconv.ParseUint(text, 10, 16); notANumber == nil {
		return "", "", fmt.Sprintf("the colon is missing, write :%s", text)
	}
	if strings.Count(text, ":") > 1 && !strings.Contains(text, "]") {
		return "", "", "an IPv6 address takes brackets, such as [::1]:80"
	}
	return "", "", "the port is missing, write ADDRESS:PORT, such as 127.0.0.1:80 or :80"
}

func parsePort(text string) (port uint16, reason string) {
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		return 0, fmt.Sprintf("port %q is not a number from 1 to 65535", text)
	}
	return uint16(number), ""
}

func parseHost(host, port string) (address netip.Addr, reason string) {
	address, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return netip.Addr{}, fmt.Sprintf("%s is no IP address, and names are not looked up, write such as 127.0.0.1:%s", host, port)
	case address.Zone() != "":
		return netip.Addr{}, fmt.Sprintf("zones are not supported, leave out %%%s", address.Zone())
	}
	return address.Unmap(), ""
}

// String returns the shortest text from which ParseAddress makes the same
// Address.
func (a Address) String() string {
	if !a.Host.IsValid() {
		return ":" + strconv.Itoa(int(a.Port))
	}
	return netip.AddrPortFrom(a.Host, a.Port).String()
}

// Matches tells whether a means the listener l. A dual-stack listener is one of
// [::], not of 0.0.0.0, and one on ::ffff:127.0.0.1 is one of 127.0.0.1.
func (a Address) Matches(l Listener) bool {
	host := l.Address.Addr()
	switch {
	case a.Port != 0 && a.Port != l.Address.Port():
		return false
	case !a.Host.IsValid():
		return a.Port == 0 || host.Unmap().IsUnspecified()
	}
	return a.Host == host.WithZone("").Unmap()
}

// covers tells whether a listener that a means could have accepted a connection
// with this local address. The kernel keeps a dual-stack listener's connections
// as IPv6 ones, those from IPv4 with addresses like ::ffff:127.0.0.1.
func (a Address) covers(local netip.AddrPort) bool {
	switch {
	case a.Port != 0 && a.Port != local.Port():
		return false
	case !a.Host.IsValid():
		return true
	case a.Host.IsUnspecified():
		return a.Host.Is4() == local.Addr().Is4()
	}
	return a.Host == local.Addr().WithZone("").Unmap()
}
