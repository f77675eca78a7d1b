package worker

import "context"

type member struct{}

func (l *Listener) open(ctx context.Context, network, address string) error {
	if err := l.listenPlain(ctx, network, address); err != nil {
		return err
	}
	l.log.Info("no control socket ("+SocketVariable+"): an ordinary listener", "address", l.Addr().String())
	return nil
}

func (l *Listener) tellDrain(context.Context) bool { return false }
