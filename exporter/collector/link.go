package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
)

// clientName is what the brokers' connection metrics show as the client's software.
const clientName = "kafkalab-exporter"

// link is the connection to one broker address, kept from one collection to the next.
//
// sarama's broker knows no context and holds its lock while it waits for an answer, so it cannot be told to stop. The link therefore
// dials by itself and closes the socket when the context ends: the call returns at once and leaves no goroutine behind.
type link struct {
	addr string
	conf *sarama.Config
	meas *requests

	mu     sync.Mutex // held for a whole request; a broker answers a connection's requests one after another anyway
	broker *sarama.Broker
	// apis holds the highest version by API key that the broker speaks. sarama asks too, but keeps the answer to itself.
	apis     map[int16]int16
	features []feature // in force in the cluster
	// suspect is set while the last request got no answer: the next collection then gives this broker little time for the first one.
	suspect atomic.Bool
	// most is how many groups can be asked for at a time, by API, where that was too many once. Whoever works on the broker has it.
	most map[string]int

	connMu sync.Mutex
	conn   net.Conn
}

// do sends one request and waits for its answer, opening the connection when there is none. Error codes inside the answer are the
// caller's. An error is sarama.ErrUnsupportedVersion when the broker lacks the API; any other means that there was no answer.
func (l *link) do(ctx context.Context, api string, send func(*sarama.Broker) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.cutAtEnd(ctx)()

	for {
		kept := l.broker != nil
		err := l.open(ctx)
		if err == nil {
			err = l.meas.timed(api, l.addr, func() error { return send(l.broker) })
			if errors.Is(err, sarama.ErrUnsupportedVersion) { // never left this machine
				l.meas.failed(api, err)
				return fmt.Errorf("request %s from %s: %w", api, l.addr, err)
			}
		}
		if err == nil {
			l.suspect.Store(false)
			return nil
		}
		l.drop()
		if kept && kafka.HungUp(err) && ctx.Err() == nil {
			continue // closed while idle, or the broker was restarted: one new connection is worth a try
		}
		l.suspect.Store(true)
		if cause := context.Cause(ctx); cause != nil {
			err = cause // "use of closed network connection" is our own doing
		}
		l.meas.failed(api, err)
		return fmt.Errorf("request %s from %s: %w", api, l.addr, kafka.Explain(err))
	}
}

// speaks returns the highest version of an API that the broker has; false when it lacks the API. Only after an answered request.
func (l *link) speaks(key int16) (int16, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.apis[key]
	return v, ok
}

func (l *link) open(ctx context.Context) error {
	if l.broker != nil {
		return nil
	}
	conf := *l.conf
	conf.Net.Proxy.Enable = true
	conf.Net.Proxy.Dialer = dialer(func(network, addr string) (net.Conn, error) { return l.dial(ctx, network, addr) })
	b := sarama.NewBroker(l.addr)
	if err := b.Open(&conf); err != nil {
		return fmt.Errorf("open connection: %w", err)
	}
	if _, err := b.Connected(); err != nil { // waits for the dial that Open began
		_ = b.Close()
		return fmt.Errorf("connect: %w", err)
	}
	l.broker = b
	if err := l.meas.timed(apiVersions, l.addr, func() error { return l.learn(b) }); err != nil {
		return fmt.Errorf("ask for api versions: %w", err)
	}
	return nil
}

// learn asks the broker what it and its cluster can do; l.mu is held.
func (l *link) learn(b *sarama.Broker) error {
	answer, err := b.ApiVersions(&sarama.ApiVersionsRequest{Version: 3, ClientSoftwareName: clientName, ClientSoftwareVersion: "1"})
	if err != nil {
		return err
	}
	l.apis = make(map[int16]int16, len(answer.ApiKeys))
	for _, k := range answer.ApiKeys {
		l.apis[k.ApiKey] = k.MaxVersion
	}
	l.features = nil
	if answer.FinalizedFeaturesEpoch >= 0 { // otherwise the broker has not heard yet
		for _, f := range answer.FinalizedFeatures {
			l.features = append(l.features, feature{f.Name, f.MaxVersionLevel})
		}
	}
	return nil
}

// levels are the features in force, as the broker last told.
func (l *link) levels() []feature {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.features
}

func (l *link) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := kafka.Dial(ctx, l.conf, network, addr)
	if err != nil {
		return nil, err
	}
	conn = &counted{Conn: conn, meas: l.meas}
	l.connMu.Lock()
	l.conn = conn
	l.connMu.Unlock()
	if ctx.Err() != nil { // ended between the dial and the line above: nobody else would close it
		l.cut()
	}
	return conn, nil
}

// cutAtEnd closes the socket when ctx ends. The function it returns must be called before the link is used for anything else.
func (l *link) cutAtEnd(ctx context.Context) (release func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		l.cut()
	})
	return func() {
		if !stop() {
			<-done // a late cut would hit the next request's connection
		}
	}
}

func (l *link) cut() {
	l.connMu.Lock()
	defer l.connMu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// drop forgets the connection; l.mu is held.
func (l *link) drop() {
	if l.broker != nil {
		_ = l.broker.Close() // often closed already, by sarama or by cut
		l.broker = nil
	}
	l.connMu.Lock()
	l.conn = nil
	l.connMu.Unlock()
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

// within gives a broker that did not answer last time only a short while for its first answer, so that it cannot slow down every collection.
// Once it answers it has the time that the others have: big answers of a live broker may well take longer than that.
func (l *link) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	end := func() { cancel(context.Canceled) }
	if !l.suspect.Load() {
		return ctx, end
	}
	timer := time.AfterFunc(probation, func() {
		if l.suspect.Load() {
			cancel(context.DeadlineExceeded)
		}
	})
	return ctx, func() {
		timer.Stop()
		end()
	}
}

// probation is enough for a live broker to connect and answer across a continent.
const probation = time.Second

// counted counts what goes over the wire, with encryption and authentication.
type counted struct {
	net.Conn
	meas *requests
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.meas.received.Add(float64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.meas.sent.Add(float64(n))
	return n, err
}

// dialer is a function as sarama's (and x/net/proxy's) dialer.
type dialer func(network, addr string) (net.Conn, error)

func (d dialer) Dial(network, addr string) (net.Conn, error) { return d(network, addr) }
