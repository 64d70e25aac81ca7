package pki_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/kafkalab/kafkalab/k8s-sandbox/pki"
)

func server() pki.Leaf {
	return pki.Leaf{Name: "server", CommonName: "kube-apiserver", Hosts: []string{"127.0.0.1", "kubernetes.default.svc"}}
}

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func ensure(t *testing.T, dir string, leaves ...pki.Leaf) {
	t.Helper()
	if err := pki.Ensure(dir, leaves); err != nil {
		t.Fatal(err)
	}
}

func TestACertificateIsGoodForItsNamesAndUsesAndNoOthers(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, server(), pki.Leaf{Name: "client", CommonName: "me", Organization: "us"})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, dir, "ca.crt"))
	parse := func(name string) *x509.Certificate {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf
	}
	for host, want := range map[string]bool{"127.0.0.1": true, "kubernetes.default.svc": true, "example.org": false} {
		_, err := parse("server").Verify(x509.VerifyOptions{Roots: roots, DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if (err == nil) != want {
			t.Errorf("server certificate for %s: %v", host, err)
		}
	}
	client := parse("client")
	if client.Subject.CommonName != "me" || len(client.Subject.Organization) != 1 || client.Subject.Organization[0] != "us" {
		t.Errorf("client's subject: %v", client.Subject)
	}
	if _, err := client.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("a client's certificate passes for a server's")
	}
}

func TestASecondStartKeepsWhatIsValid(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, server())
	before := map[string][]byte{}
	for _, f := range []string{"ca.crt", "server.crt", "server.key", "sa.key", "sa.pub"} {
		before[f] = read(t, dir, f)
	}
	ensure(t, dir, server())
	for f, want := range before {
		if !bytes.Equal(read(t, dir, f), want) {
			t.Errorf("%s changed", f)
		}
	}
}

func TestWhatIsBrokenOrNoLongerFitsIsMadeAnew(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, dir string) pki.Leaf{
		"half a certificate": func(t *testing.T, dir string) pki.Leaf {
			write(t, dir, "server.crt", read(t, dir, "server.crt")[:40])
			return server()
		},
		"the key of another": func(t *testing.T, dir string) pki.Leaf {
			write(t, dir, "server.key", read(t, dir, "ca.key"))
			return server()
		},
		"another authority": func(t *testing.T, dir string) pki.Leaf {
			for _, f := range []string{"ca.crt", "ca.key"} {
				if err := os.Remove(filepath.Join(dir, f)); err != nil {
					t.Fatal(err)
				}
			}
			return server()
		},
		"a new host": func(t *testing.T, _ string) pki.Leaf {
			l := server()
			l.Hosts = append(l.Hosts, "10.0.0.1")
			return l
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			ensure(t, dir, server())
			leaf := harm(t, dir)
			ensure(t, dir, leaf)
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(read(t, dir, "ca.crt"))
			for _, h := range leaf.Hosts {
				if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: h}); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestKeysAreReadableByTheirOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, server())
	keys, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil || len(keys) != 3 {
		t.Fatalf("keys: %v %v", keys, err)
	}
	for _, k := range keys {
		if info, err := os.Stat(k); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", k, info.Mode(), err)
		}
	}
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}
