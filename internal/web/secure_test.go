package web_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"

	"github.com/kafkalab/kafkalab/internal/web"
)

// pair makes a certificate of its own authority and writes both halves as name.pem and name.key.
func pair(t *testing.T, dir, name string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start serves with a web configuration until the test ends.
func start(t *testing.T, file string) (addr string) {
	t.Helper()
	return run(t, web.Config{File: file, Registry: prometheus.NewRegistry()}).Addr()
}

// client trusts the servers given, has certificates of its own, and takes a new connection for each request.
func client(trusted []*x509.Certificate, own ...tls.Certificate) *http.Client {
	pool := x509.NewCertPool()
	for _, c := range trusted {
		pool.AddCert(c)
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: own},
	}}
}

func ask(t *testing.T, c *http.Client, url, user, password string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	answer, err := c.Do(r)
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
	return answer, err
}

func TestTLSAndAPasswordByTheWebConfiguration(t *testing.T) {
	dir := t.TempDir()
	first := pair(t, dir, "server", 1)
	hash := func(password string) string {
		text, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	file := filepath.Join(dir, "web.yml")
	const text = "tls_server_config: {cert_file: server.pem, key_file: server.key}\nbasic_auth_users: {prometheus: %q}\n"
	write(t, file, fmt.Sprintf(text, hash("right")))
	addr := start(t, file)
	url := "https://" + addr + "/metrics"
	trusting := client([]*x509.Certificate{first})
	status := func(user, password string) int {
		t.Helper()
		answer, err := ask(t, trusting, url, user, password)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
	for name, c := range map[string]struct {
		user, password string
		want           int
	}{
		"the right password": {"prometheus", "right", http.StatusOK},
		"a wrong password":   {"prometheus", "wrong", http.StatusUnauthorized},
		"somebody else":      {"grafana", "right", http.StatusUnauthorized},
		"nobody":             {"", "", http.StatusUnauthorized},
	} {
		if got := status(c.user, c.password); got != c.want {
			t.Errorf("%s: got status %d, want %d", name, got, c.want)
		}
	}
	if _, err := ask(t, client(nil), url, "prometheus", "right"); err == nil {
		t.Error("a client that does not know the authority: it was content")
	}
	if answer, err := ask(t, trusting, "http://"+addr+"/metrics", "prometheus", "right"); err != nil || answer.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: got %v, %v", answer, err)
	}

	write(t, file, fmt.Sprintf(text, hash("new")))
	if got := status("prometheus", "right"); got != http.StatusUnauthorized {
		t.Errorf("the old password after a change: got status %d", got)
	}
	if got := status("prometheus", "new"); got != http.StatusOK {
		t.Errorf("the new password: got status %d", got)
	}
	second := pair(t, dir, "server", 2)
	answer, err := ask(t, client([]*x509.Certificate{second}), url, "prometheus", "new")
	if err != nil || answer.TLS.PeerCertificates[0].SerialNumber.Int64() != 2 {
		t.Errorf("a renewed certificate: got %v, %v", answer, err)
	}
}

func TestAClientsCertificateByTheWebConfiguration(t *testing.T) {
	dir := t.TempDir()
	server := pair(t, dir, "server", 1)
	pair(t, dir, "prometheus", 2)
	pair(t, dir, "stranger", 3)
	file := filepath.Join(dir, "web.yml")
	write(t, file, "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: prometheus.pem, client_auth_type: RequireAndVerifyClientCert}\n")
	url := "https://" + start(t, file) + "/metrics"
	load := func(name string) tls.Certificate {
		c, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if answer, err := ask(t, client([]*x509.Certificate{server}, load("prometheus")), url, "", ""); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("with the right one: got %v, %v", answer, err)
	}
	if _, err := ask(t, client([]*x509.Certificate{server}, load("stranger")), url, "", ""); err == nil {
		t.Error("with a stranger's: got in")
	}
	if _, err := ask(t, client([]*x509.Certificate{server}), url, "", ""); err == nil {
		t.Error("with none: got in")
	}
}

func TestABadWebConfigurationIsAnErrorThatNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"an unknown field":                   "tls: {}\n",
		"a certificate that is not there":    "tls_server_config: {cert_file: none.pem, key_file: none.key}\n",
		"a password that is not hashed":      "basic_auth_users: {prometheus: secret}\n",
		"a certificate without its key":      "tls_server_config: {cert_file: server.pem}\n",
		"an authority that nobody asks for":  "tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: server.pem}\n",
		"a header that is not to be changed": "http_server_config: {headers: {Server: me}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			pair(t, dir, "server", 1)
			file := filepath.Join(dir, "web.yml")
			write(t, file, text)
			_, err := web.New(web.Config{Name: "prog", Listen: []string{"127.0.0.1:0"}, File: file, Registry: prometheus.NewRegistry()})
			if err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v", err)
			}
		})
	}
}
