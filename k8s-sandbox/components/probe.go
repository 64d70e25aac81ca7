package components

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/kafkalab/kafkalab/k8s-sandbox/layout"
)

// prober asks each component by its own protocol: a connect proves nothing where a gateway answers for every address.
type prober struct {
	l       layout.Layout
	mu      sync.Mutex
	clients map[string]*http.Client
}

func newProber(l layout.Layout) *prober { return &prober{l: l, clients: map[string]*http.Client{}} }

// get is healthy when url answers 200. With user, the server must be one that our authority signed; without, the component serves a
// certificate it made for itself, on the namespace's own loopback.
func (p *prober) get(url, user string) func(context.Context) error {
	return func(ctx context.Context) error {
		client, err := p.client(user)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s: %s", url, resp.Status, firstFailure(string(body)))
		}
		return nil
	}
}

// firstFailure finds the check that failed in a healthz answer, which lists all of them.
func firstFailure(body string) string {
	for line := range strings.SplitSeq(body, "\n") {
		if strings.HasPrefix(line, "[-]") {
			return line
		}
	}
	return strings.TrimSpace(body)
}

func (p *prober) client(user string) (*http.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.clients[user]; c != nil {
		return c, nil
	}
	conf := &tls.Config{InsecureSkipVerify: user == ""}
	if user != "" {
		pair, err := tls.LoadX509KeyPair(p.l.PKI(user+".crt"), p.l.PKI(user+".key"))
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		ca, err := os.ReadFile(p.l.PKI("ca.crt"))
		if err != nil {
			return nil, fmt.Errorf("read authority: %w", err)
		}
		conf.Certificates, conf.RootCAs = []tls.Certificate{pair}, x509.NewCertPool()
		conf.RootCAs.AppendCertsFromPEM(ca)
	}
	// A new connection for each question: an old one can outlive the server that it was made to.
	p.clients[user] = &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
	return p.clients[user], nil
}

func (p *prober) containerd(ctx context.Context) error {
	conn, err := grpc.NewClient("unix://"+p.l.Containerd(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("containerd: %s", answer.Status)
	}
	return nil
}
