package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
)

const (
	lookEvery  = 10 * time.Second       // at the cluster, while all is well
	lookSoon   = time.Second            // while something is missing that may come
	lookAtMost = 200 * time.Millisecond // however many answers say that something has changed
)

// steer follows the cluster: it looks at it, makes the topic what it has to be if it may, and has each broker and coordinator probed.
func (p *Probe) steer(ctx context.Context) {
	f := &front{p: p}
	defer f.close()
	for ctx.Err() == nil {
		looked := time.Now()
		well := p.look(ctx, f)
		next := lookSoon
		if well {
			next = lookEvery
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-p.soon:
			pace := time.NewTimer(time.Until(looked.Add(lookAtMost)))
			select {
			case <-ctx.Done():
			case <-pace.C:
			}
			pace.Stop()
		}
		timer.Stop()
	}
}

// look is one look at the cluster; false when another one is wanted soon.
func (p *Probe) look(ctx context.Context, f *front) bool {
	s, err := f.shape(ctx)
	if err != nil {
		f.tell(ctx, "the cluster cannot be looked at", err)
		return false
	}
	p.adopt(s)
	if p.conf.Manage {
		if c := s.lacks(); c != nil {
			if err := f.carryOut(ctx, s, c); err != nil {
				f.tell(ctx, "the probe is incomplete", err)
			}
			return false
		}
	}
	if s.problem == sarama.ErrNoError {
		if err := p.seek(f.coordinator, s); err != nil {
			f.tell(ctx, "the probe is incomplete", err)
			return false
		}
	}
	f.tell(ctx, p.coverage(s), nil)
	return true
}

// adopt makes a shape the current one: brokers that came are sent to, those that left no longer.
func (p *Probe) adopt(s *shape) {
	p.mu.Lock()
	before := p.shape
	p.shape = s
	for id := range s.brokers {
		if p.senders[id] == nil {
			p.startSender(id)
		}
	}
	for id, stop := range p.senders {
		if _, live := s.brokers[id]; !live {
			stop()
			delete(p.senders, id)
		}
	}
	readers := make([]*reader, 0, len(p.readers))
	for _, r := range p.readers {
		readers = append(readers, r)
	}
	p.mu.Unlock()
	if before != nil {
		close(before.replaced)
	}
	for _, r := range readers {
		if leader, ok := s.leader(r.partition); ok {
			r.moved(leader)
		}
	}
	for id := range s.brokers { // connected before there is something to read
		if number, ok := s.target(id); ok {
			p.reader(number)
		}
	}
}

// startSender begins to send to a broker. p.mu is held.
func (p *Probe) startSender(broker int32) {
	if p.life == nil {
		return
	}
	ctx, stop := context.WithCancel(p.life)
	if !p.start(func(life context.Context) { p.sendTo(life, ctx, broker) }) {
		stop()
		return
	}
	p.senders[broker] = stop
}

// coverage says in words which brokers are not probed, and what would help.
func (p *Probe) coverage(s *shape) string {
	uncovered := s.uncovered()
	coordinated := p.coordinated()
	idle := slices.DeleteFunc(s.ids(), func(b int32) bool { return coordinated[b] })
	switch {
	case s.problem == sarama.ErrUnknownTopicOrPartition:
		return fmt.Sprintf("topic %q does not exist: make it, with a partition led by each of the %d brokers, or let the probe do so (probe.manage)", p.conf.Topic, len(s.brokers))
	case s.problem != sarama.ErrNoError:
		return fmt.Sprintf("topic %q cannot be looked at: %s; the probe needs the rights to describe, write and read it", p.conf.Topic, kafka.Code(s.problem))
	case len(uncovered) > 0 && p.conf.Manage:
		return fmt.Sprintf("brokers that lead no partition of topic %q yet: %s", p.conf.Topic, list(uncovered))
	case len(uncovered) > 0:
		return fmt.Sprintf("brokers that lead no partition of topic %q and so are not probed: %s; add partitions, move leaders, or let the probe do so (probe.manage)",
			p.conf.Topic, list(uncovered))
	case len(idle) > 0:
		return fmt.Sprintf("brokers that coordinate none of the groups that begin with %q, so that no offsets are committed to them: %s", p.conf.Topic, list(idle))
	}
	return ""
}

func list(ids []int32) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = fmt.Sprint(id)
	}
	return strings.Join(words, ", ")
}

// front asks any broker what concerns the cluster. One goroutine uses it.
type front struct {
	p    *Probe
	link *link
	addr string
	said string // last, to the log
}

// tell logs what has changed: a broker that is away for an hour is one line.
func (f *front) tell(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return // what fails now was stopped by us
	}
	text := what
	if err != nil {
		text = fmt.Sprint(what, ": ", err)
	}
	if text == f.said {
		return
	}
	switch {
	case err != nil:
		f.p.log.Warn(what, "err", err)
	case what != "":
		f.p.log.Warn(what)
	default:
		f.p.log.Info("every broker is probed", "topic", f.p.conf.Topic)
	}
	f.said = text
}

// shape asks one broker after another until one answers, those that are known to be live first.
func (f *front) shape(ctx context.Context) (*shape, error) {
	var problems []error
	for _, addr := range f.addresses() {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		f.use(ctx, addr)
		var md *sarama.MetadataResponse
		err := f.ask(func(b *sarama.Broker) (err error) {
			md, err = b.GetMetadata(sarama.NewMetadataRequest(f.p.kafka.Version, []string{f.p.conf.Topic}))
			return err
		})
		if err == nil && len(md.Brokers) == 0 {
			err = errors.New("it names no broker")
		}
		if err == nil {
			return shapeOf(md), nil
		}
		problems = append(problems, fmt.Errorf("ask %s: %w", addr, err))
	}
	return nil, errors.Join(problems...)
}

// addresses to ask: the one that answered last, the live brokers, and those that the settings name.
func (f *front) addresses() []string {
	var out []string
	if f.addr != "" {
		out = append(out, f.addr)
	}
	s := f.p.now()
	for _, id := range s.ids() {
		out = append(out, s.brokers[id])
	}
	out = append(out, f.p.conf.Brokers...)
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(a string) bool {
		again := seen[a]
		seen[a] = true
		return again
	})
}

// use takes an address for what is asked from now on.
func (f *front) use(ctx context.Context, addr string) {
	if f.link != nil && f.addr == addr {
		return
	}
	f.close()
	f.link, f.addr = newLink(ctx, f.p.kafka, func() string { return addr }), addr
}

func (f *front) close() {
	if f.link != nil {
		f.link.close()
		f.link, f.addr = nil, ""
	}
}

// ask makes one request. One that finds the connection broken is made once more: it may have been closed while nothing was asked.
func (f *front) ask(do func(*sarama.Broker) error) error {
	for again := false; ; again = true {
		had := f.link.connected()
		b, err := f.link.get(time.Now())
		if err != nil {
			return err
		}
		err = do(b)
		if err == nil || errors.As(err, new(sarama.KError)) {
			return err
		}
		f.link.drop(b)
		if again || !had {
			return err
		}
	}
}

// broker is the id of the one that is asked; false if it is not known.
func (f *front) broker() (int32, bool) {
	for id, addr := range f.p.now().brokers {
		if addr == f.addr {
			return id, true
		}
	}
	return -1, false
}

// failed counts what the broker that is asked did not do.
func (f *front) failed(api string, err error) {
	if id, ok := f.broker(); ok {
		f.p.meas.failed(id, api, err)
	}
}

// coordinator asks who coordinates a group.
func (f *front) coordinator(group string) (at int32, err error) {
	err = f.ask(func(b *sarama.Broker) (err error) {
		at, err = findCoordinator(b, group)
		return err
	})
	if err != nil {
		f.failed(apiFindCoordinator, err)
		return -1, fmt.Errorf("find the coordinator of group %q: %w", group, err)
	}
	return at, nil
}
