package main

// Guests of the kernel matrix have no compiler: what the test runs there travels
// in testdata. Make it anew before each such run.
//
//go:generate env CGO_ENABLED=0 go build -ldflags "-s -w" -o testdata/guest/sockdist ../../cmd/sockdist
//go:generate env CGO_ENABLED=0 go build -ldflags "-s -w" -o testdata/guest/server ../../internal/ledger/testdata/go
