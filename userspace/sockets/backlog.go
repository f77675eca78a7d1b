package sockets

// Backlogs returns how many connections wait at each listener of a port, by the
// cookie of the listener, in the calling thread's network namespace. It is what
// Listener.Backlog says, for less: see BenchmarkBacklogs.
func Backlogs(port uint16) (map[uint64]uint32, error) {
	infos, err := query{states: Listen.bit(), port: port}.run()
	if err != nil {
		return nil, err
	}
	backlogs := make(map[uint64]uint32, len(infos))
	for _, s := range infos {
		backlogs[s.cookie] = s.receiveQueue
	}
	return backlogs, nil
}
