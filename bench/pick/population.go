package pick

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A population is connections that come and go at random, as if they came by a
// Poisson process and each stayed for an exponential time: the number of them
// wanders around its mean, and an arrival is as likely as not to follow a
// departure.
type population struct {
	server unix.Sockaddr
	mean   int
	open   []int
}

func newPopulation(server netip.AddrPort, mean int) *population {
	return &population{server: &unix.SockaddrInet4{Port: int(server.Port()), Addr: server.Addr().As4()}, mean: mean}
}

// fill brings the population to its mean.
func (p *population) fill() error {
	for len(p.open) < p.mean {
		if err := p.arrive(); err != nil {
			return err
		}
	}
	return nil
}

// next is the next arrival, after the departures that come before it.
func (p *population) next() error {
	for rand.IntN(len(p.open)+p.mean) < len(p.open) {
		p.leave()
	}
	return p.arrive()
}

func (p *population) arrive() error {
	fd, err := connect(p.server)
	if err != nil {
		return err
	}
	p.open = append(p.open, fd)
	return nil
}

func (p *population) leave() {
	i, last := rand.IntN(len(p.open)), len(p.open)-1
	unix.Close(p.open[i])
	p.open[i] = p.open[last]
	p.open = p.open[:last]
}

func (p *population) close() {
	for len(p.open) > 0 {
		p.leave()
	}
}

// connect opens a connection from any address of 127.0.0.0/8, so that a policy
// that goes by the client's address sees many. Its close is a RST, which leaves
// no port in TIME_WAIT.
func connect(server unix.Sockaddr) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	client := &unix.SockaddrInet4{}
	binary.BigEndian.PutUint32(client.Addr[:], 127<<24|1+rand.Uint32N(1<<24-2))
	for _, step := range []func() error{
		func() error {
			return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		},
		func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) },
		func() error { return unix.Bind(fd, client) },
		func() error { return unix.Connect(fd, server) },
	} {
		if err := step(); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("connect: %w", err)
		}
	}
	return fd, nil
}
