package workload

var idle Workload
