module github.com/sockdist/sockdist/examples

go 1.26.0

replace (
	github.com/sockdist/sockdist => ..
	github.com/sockdist/sockdist/userspace/worker/grpcworker => ../userspace/worker/grpcworker
)

require (
	github.com/coder/websocket v1.8.15
	github.com/sockdist/sockdist v0.0.0-00010101000000-000000000000
	github.com/sockdist/sockdist/userspace/worker/grpcworker v0.0.0-00010101000000-000000000000
	github.com/valyala/fasthttp v1.77.0
	google.golang.org/grpc v1.85.0
)

require (
	github.com/cilium/ebpf v0.22.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/molecule-man/go-brrr v1.3.0 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	github.com/vishvananda/netlink v1.3.1 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
