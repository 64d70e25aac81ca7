package collector_test

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// apiNames has the requests that the exporter sends, by their keys in the protocol.
var apiNames = map[int16]string{
	2: "ListOffsets", 3: "Metadata", 9: "OffsetFetch", 15: "DescribeGroups", 16: "ListGroups", 18: "ApiVersions", 32: "DescribeConfigs",
	35: "DescribeLogDirs", 46: "ListPartitionReassignments", 69: "ConsumerGroupDescribe",
}

// front stands before a fake broker and remembers its answers: the fake one encodes its tables anew for each request and keeps everything
// that it was ever asked, which would be measured instead of the exporter. It sees what really goes over the wire.
type front struct {
	behind   string
	listener net.Listener
	latency  atomic.Int64 // before each answer, in nanoseconds
	newest   int16        // version of ApiVersions that the broker knows
	seed     maphash.Seed
	conns    sync.WaitGroup

	mu       sync.Mutex
	answers  map[question][]byte // without length and correlation id
	sent     map[call]int
	accepted int
	open     map[net.Conn]bool
}

type question struct {
	call
	length int
	sum    uint64
}

type call struct{ api, version int16 }

func newFront(t testing.TB, behind string) *front {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{behind: behind, listener: l, seed: maphash.MakeSeed(), answers: map[question][]byte{}, sent: map[call]int{}, open: map[net.Conn]bool{}}
	var accepting sync.WaitGroup
	accepting.Go(f.accept)
	t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
		f.hangUp()
		f.conns.Wait()
	})
	return f
}

func (f *front) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.accepted++
		f.open[conn] = true
		f.mu.Unlock()
		f.conns.Go(func() {
			f.serve(conn)
			_ = conn.Close()
			f.mu.Lock()
			delete(f.open, conn)
			f.mu.Unlock()
		})
	}
}

// hangUp closes every connection.
func (f *front) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.open {
		_ = conn.Close()
	}
}

func (f *front) serve(conn net.Conn) {
	var frame []byte
	for {
		frame = slices.Grow(frame[:0], 4)[:4]
		if _, err := io.ReadFull(conn, frame); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(frame))
		frame = slices.Grow(frame, n)[:4+n]
		if _, err := io.ReadFull(conn, frame[4:]); err != nil {
			return
		}
		answer, err := f.answer(frame)
		if err != nil {
			return // as a broker that was stopped
		}
		time.Sleep(time.Duration(f.latency.Load()))
		head := binary.BigEndian.AppendUint32(nil, uint32(4+len(answer)))
		head = append(head, frame[8:12]...)
		if _, err := (&net.Buffers{head, answer}).WriteTo(conn); err != nil {
			return
		}
	}
}

// answer is the remembered one, or what the broker behind says. A frame is length, API key, version, correlation id and the rest.
func (f *front) answer(frame []byte) ([]byte, error) {
	is := question{call: call{int16(binary.BigEndian.Uint16(frame[4:])), int16(binary.BigEndian.Uint16(frame[6:]))}, length: len(frame)}
	rest := frame[12:]
	switch apiNames[is.api] {
	case "ListOffsets", "ListPartitionReassignments": // sarama writes partitions in the order of a map: the same question has many forms
		for _, b := range rest {
			is.sum += uint64(b)*uint64(b) + 1<<32*uint64(b)
		}
	default:
		is.sum = maphash.Bytes(f.seed, rest)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent[is.call]++
	if is.api == 18 && is.version > f.newest { // the one request that a broker answers, in version 0, although it does not know its version
		refusal := []byte{0, 35, 0, 0, 0, 1, 0, 18, 0, 0}
		return binary.BigEndian.AppendUint16(refusal, uint16(f.newest)), nil
	}
	if answer, ok := f.answers[is]; ok {
		return answer, nil
	}
	conn, err := net.DialTimeout("tcp", f.behind, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write(frame); err != nil {
		return nil, err
	}
	head := make([]byte, 8)
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint32(head)-4)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	f.answers[is] = answer
	return answer, nil
}

// fronts stand before all brokers of a cluster.
type fronts []*front

// fronted puts a front before each broker. The metadata name the fronts.
func (c *cluster) fronted() fronts {
	c.metadata.Brokers = nil
	var all fronts
	for _, b := range c.brokers {
		f := newFront(c.t, b.Addr())
		f.newest = c.newest
		all = append(all, f)
		c.metadata.AddBroker(f.listener.Addr().String(), b.BrokerID())
	}
	c.start()
	return all
}

// warm makes the fronts know all answers, so that none takes long.
func (f fronts) warm(t testing.TB) fronts {
	e := newExporter(t, f.addrs(), patient)
	for range 3 { // once with each part that is read seldom
		e.refresh()
	}
	return f
}

func (f fronts) addrs() []string {
	var all []string
	for _, one := range f {
		all = append(all, one.listener.Addr().String())
	}
	return all
}

func (f fronts) setLatency(d time.Duration) {
	for _, one := range f {
		one.latency.Store(int64(d))
	}
}

// connections is how many were ever accepted.
func (f fronts) connections() int {
	n := 0
	for _, one := range f {
		one.mu.Lock()
		n += one.accepted
		one.mu.Unlock()
	}
	return n
}

// calls counts requests by API and version.
func (f fronts) calls() map[call]int {
	all := map[call]int{}
	for _, one := range f {
		one.mu.Lock()
		for c, n := range one.sent {
			all[c] += n
		}
		one.mu.Unlock()
	}
	return all
}

// since counts requests by the API's name, without those that were sent before.
func (f fronts) since(before map[call]int) map[string]int {
	counts := map[string]int{}
	for c, n := range f.calls() {
		if n -= before[c]; n > 0 {
			counts[apiNames[c.api]] += n
		}
	}
	return counts
}

func sum(counts map[string]int) int {
	all := 0
	for _, n := range counts {
		all += n
	}
	return all
}

// shape is the size of a fake cluster.
type shape struct{ brokers, partitions, groups, commits int }

// The three shapes that the exporter is made for, and about how many partitions a group commits in each.
var (
	small  = shape{brokers: 3, partitions: 1_000, groups: 100, commits: 10}
	middle = shape{brokers: 6, partitions: 10_000, groups: 1_000, commits: 20}
	large  = shape{brokers: 12, partitions: 100_000, groups: 5_000, commits: 50}
)

const perTopic = 20 // partitions

func topicName(i int) string { return fmt.Sprintf("team-%d.orders-%d", i%40, i) }
func groupName(i int) string { return fmt.Sprintf("team-%d-billing-%d", i%40, i) }

// newShaped has topics of twenty partitions with three replicas, and groups that commit in several topics each.
func newShaped(t testing.TB, s shape) *cluster {
	c := newCluster(t, s.brokers, true)
	for p := range s.partitions {
		replicas := make([]int32, min(3, s.brokers))
		for i := range replicas {
			replicas[i] = int32((p+i)%s.brokers + 1)
		}
		c.partition(topicName(p/perTopic), int32(p%perTopic), replicas[0], replicas, replicas, 10, int64(1000+p))
	}
	topics := s.partitions / perTopic
	for g := range s.groups {
		id := groupName(g)
		coordinator := g % s.brokers
		c.group(id, coordinator+1, "Stable", 1, "", nil)
		for i := range s.commits {
			c.commits[coordinator].SetOffset(id, topicName((g+i/perTopic)%topics), int32(i%perTopic), 900, "", sarama.ErrNoError)
		}
	}
	return c
}
