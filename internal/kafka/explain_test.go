package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
)

// server answers TLS handshakes with a certificate of its own authority, valid in the given time.
func server(t *testing.T, from, to time.Time) (addr, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	pair := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	return l.Addr().String(), caFile
}

func TestACertificateOutOfItsTimeIsExplained(t *testing.T) {
	day := 24 * time.Hour
	for name, times := range map[string][2]time.Time{
		"expired":       {time.Now().Add(-2 * day), time.Now().Add(-day)},
		"not valid yet": {time.Now().Add(day), time.Now().Add(2 * day)},
	} {
		t.Run(name, func(t *testing.T) {
			addr, caFile := server(t, times[0], times[1])
			conf, err := kafka.Client{Brokers: []string{addr}, Security: kafka.Security{TLS: kafka.TLS{Enabled: true, CAFile: caFile}}}.Config()
			if err != nil {
				t.Fatal(err)
			}
			_, err = kafka.Dial(t.Context(), conf, "tcp", addr)
			if err == nil || !strings.Contains(kafka.Explain(err).Error(), "the broker's certificate is not valid now: renew it") {
				t.Errorf("got %v", kafka.Explain(err))
			}
		})
	}
}

// A rotated authority is taken up without a restart: certificates are renewed with another one sooner or later.
func TestTheAuthoritysFileIsReadForEachConnection(t *testing.T) {
	now := time.Now()
	first, firstFile := server(t, now.Add(-time.Hour), now.Add(time.Hour))
	second, secondFile := server(t, now.Add(-time.Hour), now.Add(time.Hour))
	conf, err := kafka.Client{Security: kafka.Security{TLS: kafka.TLS{Enabled: true, CAFile: firstFile}}}.Config()
	if err != nil {
		t.Fatal(err)
	}
	dial := func(addr string) error {
		conn, err := kafka.Dial(t.Context(), conf, "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	if err := dial(first); err != nil {
		t.Errorf("the first authority: %v", err)
	}
	if err := dial(second); err == nil {
		t.Error("an authority that is not in the file: got in")
	}
	if err := os.Rename(secondFile, firstFile); err != nil {
		t.Fatal(err)
	}
	if err := dial(second); err != nil {
		t.Errorf("the authority that is in the file now: %v", err)
	}
}

func TestExplainKeepsTheErrorAndSaysNothingOfWhatItDoesNotKnow(t *testing.T) {
	known := sarama.ErrSASLAuthenticationFailed
	if err := kafka.Explain(known); !errors.Is(err, known) || kafka.Code(err) != kafka.Code(known) {
		t.Errorf("got %v", err)
	}
	for _, err := range []error{context.DeadlineExceeded, sarama.ErrTopicAuthorizationFailed, io.ErrShortBuffer, net.ErrClosed} {
		if got := kafka.Explain(err); got != err {
			t.Errorf("got %v, want %v", got, err)
		}
	}
}
