// Package kubetest runs a real Kubernetes API server for tests: kube-apiserver on its etcd, and on request the controllers that turn a
// StatefulSet or a Deployment into pods, with a kubelet played by the test.
//
// It promises an API server on loopback that nobody without its tokens can use, whose data outlives Kill and Restart; that any user and group
// can be acted as, with the rights that the test grants; and that nothing of it is left when the test ends: no process even when the test
// program is killed, no file unless it is. It leaves out everything that runs a container: no pod is more than its object here.
//
// It needs Kubernetes in .lab/bin of the checkout: "make build" puts it there.
package kubetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kafkalab/kafkalab/internal/child"
)

const (
	readyWithin = 2 * time.Minute // three seconds on an idle machine; tests share it with compilers
	poll        = 50 * time.Millisecond
	attempts    = 3 // at finding a port that nobody else takes first
)

// Server is a running API server.
type Server struct {
	URL string

	dir, binary string
	port        string
	etcd, api   *child.Process
	starts      int
	audited     bool
}

// Start runs an API server and waits until it is ready. At the end of the test it is stopped and its files are removed; if the test failed,
// the ends of the logs are shown.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	binary, err := find()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its name is as long as the test's, and the path of a socket is limited to some hundred letters.
	dir, err := os.MkdirTemp("", "kubetest-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: dir, binary: binary}
	for _, opt := range opts {
		opt(s)
	}
	t.Cleanup(func() {
		s.end()
		if t.Failed() {
			for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager"} {
				t.Logf("the end of the log of %s:\n%s", name, s.tail(name, 30))
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the files of kubetest: %v", err)
		}
	})
	if err := s.start(t.Context()); err != nil {
		t.Fatalf("start kubernetes: %v", err)
	}
	return s
}

func (s *Server) start(ctx context.Context) error {
	if err := s.prepare(); err != nil {
		return err
	}
	var err error
	if s.etcd, err = s.run(etcd()...); err != nil {
		return err
	}
	for try := 1; ; try++ {
		if s.port, err = freePort(); err != nil {
			return err
		}
		s.URL = "https://127.0.0.1:" + s.port
		err = s.launch(ctx)
		// Between choosing a port and the server's bind someone else can have taken it.
		if err == nil || try == attempts || !strings.Contains(s.tail("kube-apiserver", 0), "address already in use") {
			return err
		}
	}
}

// prepare writes what the programs have to read: a key that signs tokens of service accounts, and the token of the one account that is known.
func (s *Server) prepare() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(s.path("sa.key"), text, 0o600); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	token := rand.Text()
	if err := os.WriteFile(s.path("token"), []byte(token), 0o600); err != nil {
		return fmt.Errorf("write token: %w", err)
	}
	if err := os.WriteFile(s.path("tokens.csv"), []byte(token+",kubetest,kubetest,system:masters\n"), 0o600); err != nil {
		return fmt.Errorf("write token: %w", err)
	}
	if err := os.WriteFile(s.path("audit.yaml"), []byte(auditPolicy), 0o600); err != nil {
		return fmt.Errorf("write audit policy: %w", err)
	}
	return nil
}

// etcd is reached by sockets in the test's folder: by nobody else, and without a port. Nothing is synced to the disk: no test stops the machine.
func etcd() []string {
	const client, peer = "unix://localhost:1", "unix://localhost:2" // files of these names
	return []string{"etcd", "--name=test", "--data-dir=etcd", "--log-level=error", "--unsafe-no-fsync",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=test=" + peer}
}

func (s *Server) apiserver() []string {
	args := []string{"kube-apiserver", "--bind-address=127.0.0.1", "--secure-port=" + s.port, "--etcd-servers=unix://localhost:1",
		"--cert-dir=certs", // the server makes its own certificate there
		"--token-auth-file=tokens.csv", "--authorization-mode=RBAC", "--anonymous-auth=false",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=sa.key", "--service-account-signing-key-file=sa.key",
		// Addresses for benchmarking (RFC 2544); nothing here ever routes them. The server cannot be announced under a loopback address.
		"--service-cluster-ip-range=198.18.0.0/24", "--endpoint-reconciler-type=none",
		"--disable-admission-plugins=ServiceAccount", // no controller makes the accounts of namespaces
		"--profiling=false", "--shutdown-delay-duration=0s"}
	if s.audited {
		args = append(args, "--audit-policy-file=audit.yaml", "--audit-log-path=audit.log", "--audit-log-mode=blocking")
	}
	return args
}

// launch starts the API server and waits for it.
func (s *Server) launch(ctx context.Context) (err error) {
	if s.api, err = s.run(s.apiserver()...); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		s.api.Kill()
		s.api = nil
		return err
	}
	return nil
}

// run starts one of the programs in the test's folder, with a log of its own.
func (s *Server) run(args ...string) (*child.Process, error) {
	log, err := os.OpenFile(s.path(args[0]+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	s.starts++
	fmt.Fprintf(log, "---- start %d ----\n", s.starts)
	cmd := exec.Command(s.binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}
	return child.Start(cmd)
}

// ready waits until the server says so and its roles are there: before that it refuses its own administrators at times.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	last := errors.New("no answer yet")
	for {
		select {
		case <-s.api.Done():
			return fmt.Errorf("kube-apiserver ended before it was ready: %v; its log ends with:\n%s", s.api.Err(), s.tail("kube-apiserver", 20))
		case <-s.etcd.Done():
			return fmt.Errorf("etcd ended: %v; its log ends with:\n%s", s.etcd.Err(), s.tail("etcd", 20))
		case <-ctx.Done():
			return fmt.Errorf("kube-apiserver was not ready within %s: %w", readyWithin, last)
		case <-time.After(poll):
		}
		if last = s.ask(ctx); last == nil {
			return nil
		}
	}
}

func (s *Server) ask(ctx context.Context) error {
	client, err := s.client(User{})
	if err != nil { // the certificate is not there yet
		return err
	}
	_, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err
}

// Kill ends the API server at once, as a crash would. Restart starts it again.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if s.api == nil {
		t.Fatal("kill kube-apiserver: it is not running")
	}
	s.api.Kill()
	s.api = nil
}

// Restart ends the API server, when it runs, and starts it again at the same address with the same data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if s.api != nil {
		s.Kill(t)
	}
	if err := s.launch(t.Context()); err != nil {
		t.Fatalf("restart kube-apiserver: %v", err)
	}
}

// end kills what runs; the data is about to be removed, so there is nothing to be graceful for.
func (s *Server) end() {
	for _, p := range []*child.Process{s.api, s.etcd} {
		if p != nil {
			p.Kill()
		}
	}
}

// Client is a client of the API server, as the administrator or as somebody else.
func (s *Server) Client(t testing.TB, as ...User) kubernetes.Interface {
	t.Helper()
	client, err := s.client(User{}.or(as))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (s *Server) client(u User) (kubernetes.Interface, error) {
	conf, err := s.config(u)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(conf)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return client, nil
}

// Config is for other kinds of client.
func (s *Server) Config(t testing.TB, as ...User) *rest.Config {
	t.Helper()
	conf, err := s.config(User{}.or(as))
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

func (s *Server) config(u User) (*rest.Config, error) {
	token, err := os.ReadFile(s.path("token"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(s.certificate())
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: s.URL, BearerToken: string(token), TLSClientConfig: rest.TLSClientConfig{CAData: ca}, WarningHandler: rest.NoWarnings{},
		QPS:         -1, // a test's own requests need no limit
		Impersonate: rest.ImpersonationConfig{UserName: u.Name, Groups: u.Groups},
	}, nil
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// certificate is its own authority.
func (s *Server) certificate() string { return s.path("certs/apiserver.crt") }

func (s *Server) tail(program string, lines int) string {
	log, err := os.ReadFile(s.path(program + ".log"))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(log), "\n"), "\n")
	if lines > 0 {
		all = all[max(0, len(all)-lines):]
	}
	return strings.Join(all, "\n")
}
