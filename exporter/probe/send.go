package probe

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

const produceVersion = 10 // the newest that sarama knows; each connection takes a lower one if its broker has to

var errUnanswered = unanswered{}

// unanswered is a request that was not answered before the record's deadline.
type unanswered struct{}

func (unanswered) Error() string   { return "not answered before the record's deadline" }
func (unanswered) Timeout() bool   { return true }
func (unanswered) Temporary() bool { return true }

// sender sends to one broker.
type sender struct {
	broker int32
	link   *link
	open   atomic.Int64 // requests without an answer
}

// sendTo sends to a broker on schedule until wanted ends. A broker that has left owes answers still: whether they come or time out is waited
// for, as long as life lasts.
func (p *Probe) sendTo(life, wanted context.Context, broker int32) {
	s := &sender{broker: broker, link: p.linkTo(life, broker)}
	defer s.link.close()
	_, _ = s.link.get(time.Now()) // connecting is no part of the first record's latency; whether it worked shows with that
	paced(wanted, p.phase(), p.conf.Interval, p.conf.Deadline, func(due time.Time) { p.send(s, due) }, func(n int) { p.meas.skipped(broker, n) })
	tick := time.NewTicker(p.conf.Interval)
	defer tick.Stop()
	for s.open.Load() > 0 {
		select {
		case <-life.Done():
			return
		case <-tick.C:
		}
	}
}

// phase is a time within the next interval, so that brokers and probes do not all get their records at once.
func (p *Probe) phase() time.Time { return time.Now().Add(rand.N(p.conf.Interval)) }

// send puts one record on its way, if the broker leads a partition for it.
func (p *Probe) send(s *sender, due time.Time) {
	partition, ok := p.now().target(s.broker)
	if !ok {
		return // shown as not covered
	}
	number := p.sent.begin(s.broker, partition, due)
	p.meas.sent(s.broker)
	b, err := s.link.get(due)
	if err == nil {
		s.open.Add(1)
		err = b.AsyncProduce(p.request(partition, number), func(answer *sarama.ProduceResponse, err error) {
			p.answered(number, s.broker, partition, answer, err)
			if err != nil {
				s.link.drop(b)
			}
			s.open.Add(-1)
		})
		if err != nil {
			s.open.Add(-1) // sarama does not call back then
		}
	}
	if err != nil {
		p.refused(number, s.broker, err)
		s.link.drop(b)
	}
}

func (p *Probe) request(partition int32, number uint64) *sarama.ProduceRequest {
	now := time.Now()
	r := &sarama.ProduceRequest{RequiredAcks: sarama.WaitForAll, Timeout: int32(p.kafka.Net.ReadTimeout.Milliseconds()), Version: produceVersion}
	r.AddBatch(p.conf.Topic, partition, &sarama.RecordBatch{
		Version: 2, FirstTimestamp: now, MaxTimestamp: now, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		Records: []*sarama.Record{{Value: stamp(p.run, number)}},
	})
	return r
}

// answered is called by the connection's own goroutine, in the order in which the broker answers.
func (p *Probe) answered(number uint64, broker, partition int32, answer *sarama.ProduceResponse, err error) {
	now := time.Now()
	var block *sarama.ProduceResponseBlock
	if err == nil {
		if block = answer.GetBlock(p.conf.Topic, partition); block == nil {
			err = sarama.ErrIncompleteResponse
		} else if block.Err != sarama.ErrNoError {
			err = block.Err
		}
	}
	if err != nil {
		p.refused(number, broker, err)
		return
	}
	if r, ok := p.sent.ack(number); ok {
		p.meas.produced(r.broker, now.Sub(r.due), partition, block.Offset)
	}
	p.readFrom(partition, block.Offset)
}

// refused ends a record that the broker does not have, as far as is known.
func (p *Probe) refused(number uint64, broker int32, err error) {
	if p.ending() {
		return // it stays in flight: we cut it off ourselves
	}
	if p.sent.fail(number) {
		p.meas.failed(broker, apiProduce, err)
	}
	p.doubt(err)
}

// ending is true when Run's ctx has ended: what fails then was stopped by us.
func (p *Probe) ending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life == nil || p.life.Err() != nil
}

// doubt has the cluster looked at again if the error says that it is not what it was thought to be.
func (p *Probe) doubt(err error) {
	var code sarama.KError
	if !errors.As(err, &code) {
		p.lookAgain() // the connection
		return
	}
	switch code {
	case sarama.ErrNotLeaderForPartition, sarama.ErrUnknownTopicOrPartition, sarama.ErrLeaderNotAvailable, sarama.ErrReplicaNotAvailable,
		sarama.ErrFencedLeaderEpoch, sarama.ErrUnknownLeaderEpoch, sarama.ErrKafkaStorageError,
		sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable:
		p.lookAgain()
	}
}
