package kafka

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/IBM/sarama"
)

// dialer connects, makes the connection secure and, for PLAIN, names the mechanism. TLS is here rather than in sarama because the mechanism
// has to be named before encryption; so a bad certificate is also an error of the connect that caused it.
type dialer struct {
	conf  *sarama.Config // its timeouts are read when they are needed: the caller may still change them
	tls   *tls.Config    // nil: plaintext
	plain bool
}

// Dial implements the interface that sarama calls for each connection.
func (d dialer) Dial(network, addr string) (net.Conn, error) {
	n := d.conf.Net
	ctx, cancel := context.WithTimeout(context.Background(), n.DialTimeout)
	defer cancel()
	tcp := net.Dialer{KeepAlive: n.KeepAlive, LocalAddr: n.LocalAddr}
	conn, err := tcp.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if d.tls != nil {
		if conn, err = d.secure(ctx, conn, addr); err != nil {
			return nil, err
		}
	}
	if d.plain {
		conn = mechanismConn{conn}
	}
	return conn, nil
}

func (d dialer) secure(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	c := d.tls.Clone()
	if c.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		c.ServerName = host
	}
	secured := tls.Client(conn, c)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error says what is wrong
		return nil, fmt.Errorf("connect to %s by TLS: %w", addr, err)
	}
	return secured, nil
}
