// Package pki makes the certificates of a one-node cluster: one authority, a client certificate for each component and person, and the
// key that signs service account tokens.
//
// It promises that what exists and is valid is kept, so that a second start changes nothing, and that every key is readable by its owner
// only. It leaves out rotation: certificates last ten years, a sandbox days.
package pki

import (
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
	"time"
)

const life = 10 * 365 * 24 * time.Hour

// Leaf asks for a certificate. Hosts (names or addresses) make it a server's as well as a client's.
type Leaf struct {
	Name         string // file name: Name.crt, Name.key
	CommonName   string // the user in Kubernetes' terms
	Organization string // the group
	Hosts        []string
}

// Ensure makes what is missing in dir: ca.crt, ca.key, sa.key, sa.pub and a pair for each leaf.
func Ensure(dir string, leaves []Leaf) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make key directory: %w", err)
	}
	ca, key, err := authority(dir)
	if err != nil {
		return err
	}
	for _, l := range leaves {
		if err := l.ensure(dir, ca, key); err != nil {
			return fmt.Errorf("certificate %s: %w", l.Name, err)
		}
	}
	return serviceAccountKey(dir)
}

func authority(dir string) (*x509.Certificate, crypto.Signer, error) {
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if cert, key, err := load(certFile, keyFile); err == nil {
		return cert, key, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make authority key: %w", err)
	}
	t := template(pkix.Name{CommonName: "kafkalab-ca"})
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	cert, err := sign(t, t, key, key, certFile, keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("authority: %w", err)
	}
	return cert, key, nil
}

func (l Leaf) ensure(dir string, ca *x509.Certificate, caKey crypto.Signer) error {
	certFile, keyFile := filepath.Join(dir, l.Name+".crt"), filepath.Join(dir, l.Name+".key")
	if cert, _, err := load(certFile, keyFile); err == nil && cert.CheckSignatureFrom(ca) == nil && l.covers(cert) {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	name := pkix.Name{CommonName: l.CommonName}
	if l.Organization != "" {
		name.Organization = []string{l.Organization}
	}
	t := template(name)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(l.Hosts) > 0 {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range l.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	_, err = sign(t, ca, key, caKey, certFile, keyFile)
	return err
}

func (l Leaf) covers(cert *x509.Certificate) bool {
	if cert.Subject.CommonName != l.CommonName {
		return false
	}
	for _, h := range l.Hosts {
		if cert.VerifyHostname(h) != nil {
			return false
		}
	}
	return true
}

func serviceAccountKey(dir string) error {
	keyFile, pubFile := filepath.Join(dir, "sa.key"), filepath.Join(dir, "sa.pub")
	if _, err := os.Stat(pubFile); err == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make service account key: %w", err)
	}
	if err := writeKey(keyFile, key); err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encode service account key: %w", err)
	}
	return writePEM(pubFile, "PUBLIC KEY", der, 0o644)
}

func template(subject pkix.Name) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil { // the system's randomness is gone: nothing sensible can follow
		serial = big.NewInt(time.Now().UnixNano())
	}
	now := time.Now()
	// An hour back: a machine whose clock is set while it starts must not find its certificates to be from the future.
	return &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life)}
}

func sign(t, parent *x509.Certificate, key, parentKey crypto.Signer, certFile, keyFile string) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if err := writeKey(keyFile, key); err != nil {
		return nil, err
	}
	if err := writePEM(certFile, "CERTIFICATE", der, 0o644); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func writeKey(file string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	return writePEM(file, "PRIVATE KEY", der, 0o600)
}

// writePEM replaces the file whole: an interrupted start must not leave half a key that the next one takes for a key.
func writePEM(file, kind string, der []byte, mode os.FileMode) error {
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(file), err)
	}
	return os.Rename(tmp, file)
}

func load(certFile, keyFile string) (*x509.Certificate, crypto.Signer, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, nil, err
	}
	c, _ := pem.Decode(certPEM)
	k, _ := pem.Decode(keyPEM)
	if c == nil || k == nil {
		return nil, nil, fmt.Errorf("%s: no PEM in it", filepath.Base(certFile))
	}
	cert, err := x509.ParseCertificate(c.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(k.Bytes)
	if err != nil {
		return nil, nil, err
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok || !signer.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, fmt.Errorf("%s: key and certificate do not belong together", filepath.Base(certFile))
	}
	return cert, signer, nil
}
