package promql_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/promql"
)

// picky is a server that answers only those who show what it wants.
func picky(want func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !want(r) {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		answer(200, vector(sample(0, "1")))(w, r)
	})
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	rewrite(t, path, text)
	return path
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWhoAsks: each way of showing who one is, with a secret that is renewed while the client runs.
func TestWhoAsks(t *testing.T) {
	for name, c := range map[string]struct {
		access func(file string) promql.Access
		shown  func(*http.Request) string
	}{
		"a password": {
			func(f string) promql.Access {
				return promql.Access{BasicAuth: promql.BasicAuth{Username: "tuner", PasswordFile: f}}
			},
			func(r *http.Request) string { user, password, _ := r.BasicAuth(); return user + ":" + password },
		},
		"a token": {
			func(f string) promql.Access { return promql.Access{BearerTokenFile: f} },
			func(r *http.Request) string {
				return strings.Replace(r.Header.Get("Authorization"), "Bearer ", "tuner:", 1)
			},
		},
		"a header": {
			func(f string) promql.Access {
				return promql.Access{Headers: map[string]string{"X-Scope-OrgID": "tuner"}, HeaderFiles: map[string]string{"X-Key": f}}
			},
			func(r *http.Request) string { return r.Header.Get("X-Scope-OrgID") + ":" + r.Header.Get("X-Key") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			wanted := "tuner:old"
			server := httptest.NewServer(picky(func(r *http.Request) bool { return c.shown(r) == wanted }))
			defer server.Close()
			path := file(t, "old\n")
			client, err := promql.New(promql.Config{URL: server.URL, Access: c.access(path)})
			if err != nil {
				t.Fatal(err)
			}
			ask := func() promql.Cause {
				_, err := client.Number(t.Context(), "up", time.Time{})
				return promql.CauseOf(err)
			}
			if got := ask(); got != "" {
				t.Errorf("want a number (got %s)", got)
			}
			wanted = "tuner:new"
			if got := ask(); got != promql.Denied {
				t.Errorf("want it denied with the old secret (got %q)", got)
			}
			rewrite(t, path, "new")
			if got := ask(); got != "" {
				t.Errorf("want the new secret taken (got %s)", got)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if got := ask(); got != promql.Credentials {
				t.Errorf("want the missing file named (got %q)", got)
			}
		})
	}
}

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{}
	a.pem, _, a.cert, a.key = a.issue(t, "ca")
	return a
}

func (a authority) issue(t *testing.T, name string) (certPEM, keyPEM string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IsCA: a.cert == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyPEM = string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}))
	return certPEM, keyPEM, cert, key
}

// TestTLS: the server's authority and the client's own certificate, both exchanged while the client runs.
func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	serverCert, serverKey, _, _ := ours.issue(t, "prometheus")
	pair, err := tls.X509KeyPair([]byte(serverCert), []byte(serverKey))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	server := httptest.NewUnstartedServer(picky(func(r *http.Request) bool { return r.TLS.PeerCertificates[0].Subject.CommonName == "tuner" }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		MaxVersion: tls.VersionTLS12, // with 1.3 a client learns that its certificate is not taken after it has sent its request, or not at all
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()

	cert, key, _, _ := ours.issue(t, "tuner")
	a := promql.Access{TLS: promql.TLS{CAFile: file(t, ours.pem), CertFile: file(t, cert), KeyFile: file(t, key), ServerName: "prometheus"}}
	ask := func(a promql.Access, url string) promql.Cause {
		t.Helper()
		client, err := promql.New(promql.Config{URL: url, Access: a})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Number(t.Context(), "up", time.Time{})
		return promql.CauseOf(err)
	}
	plain := httptest.NewServer(answer(200, vector(sample(0, "1"))))
	defer plain.Close()
	with := func(change func(*promql.Access)) promql.Access { changed := a; change(&changed); return changed }
	for name, c := range map[string]struct {
		access promql.Access
		url    string
		want   promql.Cause
	}{
		"all is right":               {a, server.URL, ""},
		"another authority":          {with(func(a *promql.Access) { a.TLS.CAFile = file(t, theirs.pem) }), server.URL, promql.TLSFailed},
		"another name":               {with(func(a *promql.Access) { a.TLS.ServerName = "other" }), server.URL, promql.TLSFailed},
		"no certificate of our own":  {with(func(a *promql.Access) { a.TLS.CertFile, a.TLS.KeyFile = "", "" }), server.URL, promql.TLSFailed},
		"any certificate is taken":   {with(func(a *promql.Access) { a.TLS.CAFile, a.TLS.InsecureSkipVerify = "", true }), server.URL, ""},
		"the server speaks no TLS":   {a, strings.Replace(plain.URL, "http:", "https:", 1), promql.TLSFailed},
		"the server speaks only TLS": {a, strings.Replace(server.URL, "https:", "http:", 1), promql.BadAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ask(c.access, c.url); got != c.want {
				t.Errorf("want %q (got %q)", c.want, got)
			}
		})
	}

	client, err := promql.New(promql.Config{URL: server.URL, Access: a})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, ca string
		want     promql.Cause
	}{{"the authority is exchanged", theirs.pem, promql.TLSFailed}, {"and comes back", ours.pem, ""}} {
		rewrite(t, a.TLS.CAFile, c.ca)
		if _, err := client.Number(t.Context(), "up", time.Time{}); promql.CauseOf(err) != c.want {
			t.Errorf("%s: want %q (got %v)", c.name, c.want, err)
		}
	}
}

func TestAccessIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		access promql.Access
		want   string
	}{
		"a certificate without a key":     {promql.Access{TLS: promql.TLS{CertFile: "c"}}, `tls.key_file: must be set with tls.cert_file (got "")`},
		"a key without a certificate":     {promql.Access{TLS: promql.TLS{KeyFile: "k"}}, `tls.cert_file: must be set with tls.key_file (got "")`},
		"an authority that nobody asks":   {promql.Access{TLS: promql.TLS{CAFile: "ca", InsecureSkipVerify: true}}, `tls.ca_file: must be left out`},
		"a password without a user":       {promql.Access{BasicAuth: promql.BasicAuth{PasswordFile: "p"}}, `basic_auth.username: must be set`},
		"a user without a password":       {promql.Access{BasicAuth: promql.BasicAuth{Username: "u"}}, `basic_auth.password_file: must be set`},
		"a password and a token":          {promql.Access{BasicAuth: promql.BasicAuth{Username: "u", PasswordFile: "p"}, BearerTokenFile: "t"}, `bearer_token_file: must be left out with basic_auth`},
		"a header that is ours":           {promql.Access{Headers: map[string]string{"authorization": "x"}}, `headers: want headers that neither`},
		"a header twice":                  {promql.Access{Headers: map[string]string{"X-A": "x"}, HeaderFiles: map[string]string{"x-a": "f"}}, `header_files: want each header once`},
		"a file that is not there":        {promql.Access{TLS: promql.TLS{CAFile: "none.pem"}}, `none.pem`},
		"a file that is not what it says": {promql.Access{TLS: promql.TLS{CAFile: file(t, "hello")}}, `CA`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := promql.New(promql.Config{URL: "https://prometheus:9090", Access: c.access}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("want %q (got %v)", c.want, err)
			}
		})
	}
}
