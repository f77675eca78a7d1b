package grpcworker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/sockdist/sockdist/userspace/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait. A busy machine may need some of it.
const patience = time.Minute

// service is gRPC's own test service, as far as it is used here.
type service struct {
	grpc_testing.UnimplementedTestServiceServer
	waiting, served atomic.Int64  // EmptyCall
	hold            chan struct{} // nil: they don't wait
}

func (s *service) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	if s.hold != nil {
		s.waiting.Add(1)
		<-s.hold
	}
	s.served.Add(1)
	return &grpc_testing.Empty{}, nil
}

// UnaryCall answers with as much as it is asked for, so that frames are many.
func (s *service) UnaryCall(_ context.Context, r *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	time.Sleep(time.Millisecond)
	return &grpc_testing.SimpleResponse{Payload: &grpc_testing.Payload{Body: make([]byte, r.ResponseSize)}}, nil
}

// FullDuplexCall answers message by message.
func (s *service) FullDuplexCall(stream grpc_testing.TestService_FullDuplexCallServer) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return nil // the client has ended
		}
		if err := stream.Send(&grpc_testing.StreamingOutputCallResponse{Payload: r.Payload}); err != nil {
			return err
		}
	}
}

// listen is a worker's listener on a port of its own.
func listen(t testing.TB, opts ...worker.Option) *worker.Listener {
	t.Helper()
	l, err := worker.Listen(t.Context(), "tcp", "127.0.0.1:0", append([]worker.Option{worker.WithSocket("")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve serves until the test's end.
func serve(t testing.TB, l net.Listener, s *service, opts ...grpc.ServerOption) *grpc.Server {
	t.Helper()
	server := grpc.NewServer(opts...)
	grpc_testing.RegisterTestServiceServer(server, s)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return server
}

func dial(t testing.TB, address string, c credentials.TransportCredentials) (*grpc.ClientConn, grpc_testing.TestServiceClient) {
	t.Helper()
	if c == nil {
		c = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, grpc_testing.NewTestServiceClient(conn)
}

// secrets are credentials of a server and of clients that trust it.
func secrets(t testing.TB) (server, client credentials.TransportCredentials) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return credentials.NewServerTLSFromCert(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}),
		credentials.NewClientTLSFromCert(pool, "")
}

// await waits for something that is to come true.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// stranger hides what accepts.
type stranger struct{ net.Listener }

func (s stranger) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}
