package drive_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/kafkatest"
	"github.com/kafkalab/kafkalab/loadgen/drive"
)

// proxy stands between clients and a broker and harms the connections of producers only, which it knows by their client id.
type proxy struct {
	listener net.Listener
	mu       sync.Mutex
	target   string
	conns    map[net.Conn]bool // to producers
	deaf     bool              // what the broker answers to them is lost
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, conns: make(map[net.Conn]bool)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		serving.Wait()
	})
	return p
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	up, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer up.Close()
	// The first request begins with size, API, version and correlation, and then names the client.
	head := make([]byte, 14)
	if _, err := io.ReadFull(c, head); err != nil {
		return
	}
	id := make([]byte, binary.BigEndian.Uint16(head[12:]))
	if _, err := io.ReadFull(c, id); err != nil {
		return
	}
	producer := bytes.Contains(id, []byte("producer"))
	if producer {
		p.mu.Lock()
		p.conns[c] = true
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			delete(p.conns, c)
			p.mu.Unlock()
		}()
	}
	go func() {
		defer up.Close()
		_, _ = up.Write(append(head, id...))
		_, _ = io.Copy(up, c)
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := up.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		lost := p.deaf && producer
		p.mu.Unlock()
		if lost {
			continue
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) leadsTo(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

func (p *proxy) lose(answers bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = answers
}

// cut resets every connection of a producer, and returns how many.
func (p *proxy) cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	return len(p.conns)
}

// The broker gets what a producer sent, the producer does not get the answer, and then the connection is reset: again and again. There are
// more partitions than requests under way, so that records wait for the connection when it breaks.
func TestFaultsOnTheWayToARealBroker(t *testing.T) {
	p := newProxy(t)
	b := kafkatest.Start(t, kafkatest.Env(map[string]string{"KAFKA_ADVERTISED_LISTENERS": "INTERNAL://" + p.listener.Addr().String()}))
	p.leadsTo(b.Addr)
	for run, producer := range []string{"acks: leader", "acks: all", "acks: all, idempotent: true"} {
		t.Run(producer, func(t *testing.T) {
			w := mustWorkload(t, fmt.Sprintf("name: w\npayload: {bytes: 200}\nwarmup: 0s\ntopic: {partitions: 12}\nproducer: {clients: 2, in_flight: 5000, give_up: 2m, %s}\n", producer))
			cuts := 0
			e := against(t, b, w, 1000, uint64(100+run), nil, func(e *drive.Engine) {
				until(t, "1000 records consumed", patience, func() bool { return e.Totals().Consumed > 1000 })
				for range 10 {
					p.lose(true)
					time.Sleep(30 * time.Millisecond) // in which records are sent
					cuts += p.cut()
					p.lose(false)
					acked := e.Totals().Acked
					until(t, "acknowledged again", time.Minute, func() bool { return e.Totals().Acked > acked+100 })
				}
			})
			total, faults := e.Totals(), e.Faults()
			t.Logf("%d connections cut: %d retried, %d twice at the broker", cuts, total.Retried, faults.Duplicated)
			if total.Failed > 0 || total.Offered != total.Acked || faults.Lost+faults.Corrupted > 0 || e.Outstanding() > 0 {
				t.Errorf("got %d offered, %d acknowledged, %d failed, %+v, %d outstanding", total.Offered, total.Acked, total.Failed, faults, e.Outstanding())
			}
			if total.Consumed != total.Acked+faults.Duplicated+faults.Redelivered {
				t.Errorf("got %d acknowledged and %d consumed with %+v", total.Acked, total.Consumed, faults)
			}
			if faults.Reordered > 0 {
				t.Errorf("got %d records out of order", faults.Reordered)
			}
			if cuts < 10 || total.Retried == 0 || (faults.Duplicated > 0) == w.Producer.Idempotent {
				t.Errorf("got %d cuts, %d retried, %d duplicated: duplicates there must be, but not when the producer is idempotent", cuts, total.Retried, faults.Duplicated)
			}
		})
	}
	t.Run("not heard at the end", func(t *testing.T) { notHeard(t, b, p) })
	t.Run("batches are larger than the topic takes", func(t *testing.T) {
		// In turns of ten to each partition, a batch holds more than the topic takes of it at a rate that a busy machine keeps up with too.
		w := mustWorkload(t, "name: w\npayload: {bytes: 2000}\nwarmup: 0s\ntopic: {partitions: 12, config: {max.message.bytes: '6000'}}\nproducer: {clients: 1, acks: all, idempotent: true, linger: 50ms, sticky: 10}\n")
		e := against(t, b, w, 100, 103, nil, func(e *drive.Engine) {
			until(t, "300 records consumed", patience, func() bool { return e.Totals().Consumed > 300 })
		})
		total, faults := e.Totals(), e.Faults()
		if total.Failed > 0 || total.Offered != total.Acked || faults.Lost+faults.Duplicated+faults.Reordered > 0 || total.Retried == 0 {
			t.Errorf("got %d offered, %d acknowledged, %d failed, %d retried, %+v: want them sent again in smaller batches", total.Offered, total.Acked, total.Failed, total.Retried, faults)
		}
	})
}
