package loader

// The object is little-endian: that is amd64 and arm64 alike.
//go:generate go tool bpf2go -target bpfel -no-global-types -cflags "-O2 -g -Wall -Werror -Wno-missing-declarations -mcpu=v3" object ../bpf/sockdist.bpf.c -- -I../bpf -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
