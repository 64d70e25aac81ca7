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
	conf  *sarama.Config              // its timeouts are read when they are needed: the caller may still change them
	tls   func() (*tls.Config, error) // as the files are now; nil: plaintext
	plain bool
}

// Dial implements the interface that sarama calls for each connection.
func (d dialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// DialContext is Dial for callers that cannot wait longer than ctx.
func (d dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	n := d.conf.Net
	ctx, cancel := context.WithTimeout(ctx, n.DialTimeout)
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

// Dial connects as a configuration made by Client.Config says, and gives up when ctx ends.
func Dial(ctx context.Context, conf *sarama.Config, network, addr string) (net.Conn, error) {
	d, ours := conf.Net.Proxy.Dialer.(dialer)
	if !ours {
		d = dialer{conf: conf}
	}
	return d.DialContext(ctx, network, addr)
}

func (d dialer) secure(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	c, err := d.tls()
	if err == nil {
		if c.ServerName == "" {
			if c.ServerName, _, err = net.SplitHostPort(addr); err != nil {
				c.ServerName, err = addr, nil
			}
		}
		secured := tls.Client(conn, c)
		if err = secured.HandshakeContext(ctx); err == nil {
			return secured, nil
		}
		if HungUp(err) {
			err = fmt.Errorf("%w: %w", errNoHandshake, err)
		}
	}
	_ = conn.Close() // the error says what is wrong
	return nil, fmt.Errorf("connect to %s by TLS: %w", addr, err)
}
