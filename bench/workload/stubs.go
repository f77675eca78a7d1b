package workload

var (
	rate, queue, uneven              Workload
	keepalive, longlived, burst      Workload
	stall, crash, reload, pick, idle Workload
)
