package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// visit is one connection to a server.
type visit struct {
	server *Server
	conn   *net.UnixConn
	peer   *Peer
	kind   kind

	order sync.Mutex // of replies
	deaf  error      // why the client gets no more of them
}

// run answers the request, or serves the session that it begins. It returns
// the files that came.
func (v *visit) run() []*os.File {
	if !v.server.awaits(v.conn, v.server.limits.Patience) {
		return nil
	}
	p, err := receive(v.conn, MaxRequest)
	if err != nil {
		v.refuse(fmt.Sprintf("read the request: %v", err))
		return nil
	}
	request, err := p.request()
	switch {
	case err != nil:
		v.refuse(err.Error())
	case request.Verb == JoinGroup:
		v.join(request, p.files)
	case len(p.files) > 0:
		v.refuse(fmt.Sprintf("no descriptor belongs to a request of %q", request.Verb))
	default:
		v.answer(request)
	}
	return p.files
}

func (v *visit) answer(r Request) {
	last := v.server.handler.Answer(v.peer, r, func(text string) { _ = v.reply(Reply{Say: text}) })
	last.Done = true
	_ = v.reply(last) // it may have gone
}

// join makes a session of the visit, which has a place of another kind.
func (v *visit) join(r Request, files []*os.File) {
	s := v.server
	if !s.house.enter(v.peer.UID, session) {
		_ = v.reply(Reply{Done: true, Busy: true, Error: fmt.Sprintf("too many workers of user %d: ask again later", v.peer.UID)})
		return
	}
	s.house.leave(v.peer.UID, v.kind)
	v.kind = session
	if s.awaits(v.conn, 0) {
		s.handler.Join(newSession(v), r, files)
	}
}

func (v *visit) refuse(why string) { _ = v.reply(Reply{Done: true, Error: why}) }

// reply sends a packet, for which the client has to make room in time. One that
// doesn't isn't waited for again.
func (v *visit) reply(r Reply, files ...*os.File) error {
	v.order.Lock()
	defer v.order.Unlock()
	if v.deaf != nil {
		return v.deaf
	}
	r.Version = Version
	if v.deaf = v.conn.SetWriteDeadline(time.Now().Add(v.server.limits.Patience)); v.deaf != nil {
		return v.deaf
	}
	err := send(v.conn, r, files...)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		v.deaf = fmt.Errorf("the client takes no replies: %w", err)
	}
	return err
}
