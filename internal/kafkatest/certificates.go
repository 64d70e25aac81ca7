package kafkatest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificates are names of files in PEM, made for one test.
type Certificates struct {
	CAFile   string // the authority's certificate
	CertFile string // a client's certificate, signed by it
	KeyFile  string

	broker string // the broker's key and certificate, likewise
}

// NewCertificates makes an authority of its own with a certificate for the broker and one for a client.
func NewCertificates(t testing.TB) Certificates {
	t.Helper()
	dir := t.TempDir()
	c := Certificates{
		CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "client.pem"), KeyFile: filepath.Join(dir, "client.key"),
		broker: filepath.Join(dir, "broker.pem"),
	}
	if err := c.write(); err != nil {
		t.Fatalf("make certificates: %v", err)
	}
	return c
}

func (c Certificates) write() error {
	authority, err := newCertificate("kafkatest authority", nil)
	if err != nil {
		return err
	}
	server, err := newCertificate("kafkatest broker", authority)
	if err != nil {
		return err
	}
	client, err := newCertificate("kafkatest client", authority)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		c.CAFile: authority.chain, c.CertFile: client.chain, c.KeyFile: client.key,
		c.broker: bytes.Join([][]byte{server.key, server.chain}, nil), // Kafka wants both in one file
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

type certificate struct {
	parsed     *x509.Certificate
	private    crypto.Signer
	chain, key []byte // PEM
}

// newCertificate is signed by the given authority, or is one.
func newCertificate(name string, by *certificate) (*certificate, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	c := &certificate{private: private}
	parent, signer := template, crypto.Signer(private)
	if by == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		template.IPAddresses, template.DNSNames, template.ExtKeyUsage = nil, nil, nil
	} else {
		parent, signer = by.parsed, by.private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	if c.parsed, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("read back certificate: %w", err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	c.chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	c.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return c, nil
}
