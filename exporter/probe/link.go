package probe

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
)

// pause is how long after an attempt to connect failed there is no other: a broker that is away is not besieged.
const pause = time.Second

// link is a connection to a broker, made when it is needed and anew after it broke.
//
// sarama knows no context. So the link dials by itself, and closes the socket when its life ends: whoever waits for an answer has it then.
type link struct {
	life    context.Context
	conf    *sarama.Config
	address func() string // asked for each connection: a broker may come back elsewhere

	dialing sync.Mutex // held while connecting
	closing sync.WaitGroup
	stop    func() bool

	mu     sync.Mutex
	over   bool
	broker *sarama.Broker
	conn   net.Conn
	failed time.Time // when the last attempt failed; zero after one that did not
	cause  error
}

func newLink(ctx context.Context, conf *sarama.Config, address func() string) *link {
	l := &link{life: ctx, conf: conf, address: address}
	l.stop = context.AfterFunc(ctx, l.end)
	return l
}

var errAway = fmt.Errorf("the broker is not among those that the cluster lists: %w", sarama.ErrNotConnected)

// get is the connection. What was due before an attempt to connect failed, or shortly after, has failed with it: it would have waited for
// that attempt, and there is none for each of them.
func (l *link) get(due time.Time) (*sarama.Broker, error) {
	l.dialing.Lock()
	defer l.dialing.Unlock()
	l.mu.Lock()
	broker, cause, over := l.broker, l.cause, l.over
	spared := !l.failed.IsZero() && due.Before(l.failed.Add(pause))
	l.mu.Unlock()
	switch {
	case over:
		return nil, net.ErrClosed
	case broker != nil:
		return broker, nil
	case spared:
		return nil, cause
	}
	broker, err := l.open()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed, l.cause = time.Now(), err
		return nil, err
	}
	l.failed, l.cause, l.broker = time.Time{}, nil, broker
	return broker, nil
}

// connected says whether get would return at once.
func (l *link) connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broker != nil
}

// open connects within the time that sarama has for one step, of which there are several.
func (l *link) open() (*sarama.Broker, error) {
	addr := l.address()
	if addr == "" {
		return nil, errAway
	}
	limit := time.AfterFunc(l.conf.Net.DialTimeout, l.cut)
	conf := *l.conf
	conf.Net.Proxy.Enable, conf.Net.Proxy.Dialer = true, dialer(l.dial)
	b := sarama.NewBroker(addr)
	err := b.Open(&conf)
	if err == nil {
		_, err = b.Connected() // waits for what Open began
	}
	if !limit.Stop() {
		err = os.ErrDeadlineExceeded // "use of closed network connection" is our own doing
	}
	if err != nil {
		_ = b.Close() // most often closed already
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return b, nil
}

func (l *link) dial(network, addr string) (net.Conn, error) {
	conn, err := kafka.Dial(l.life, l.conf, network, addr) // as the settings have it: by TLS, for one
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.conn = conn
	over := l.over
	l.mu.Unlock()
	if over { // since the dial began: nobody else would close it
		_ = conn.Close()
	}
	return conn, nil
}

// drop gives up a connection that broke. It may be called by what a connection's own goroutine calls, which must not wait for its end.
func (l *link) drop(b *sarama.Broker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broker != b || b == nil {
		return
	}
	l.broker = nil
	l.closing.Go(func() { _ = b.Close() })
}

// cut closes the socket: whatever waits for it fails.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// end cuts the connection for good.
func (l *link) end() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.cut()
}

// close ends the link and waits until nothing of it is left.
func (l *link) close() {
	l.stop()
	l.end()
	l.dialing.Lock()
	defer l.dialing.Unlock()
	l.mu.Lock()
	b := l.broker
	l.mu.Unlock()
	l.drop(b)
	l.closing.Wait()
}

// dialer is a function as sarama's dialer.
type dialer func(network, addr string) (net.Conn, error)

func (d dialer) Dial(network, addr string) (net.Conn, error) { return d(network, addr) }
