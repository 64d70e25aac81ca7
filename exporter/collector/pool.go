package collector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// pool holds the links: one per broker, and the seed addresses until the brokers are known. One collection uses it at a time.
type pool struct {
	conf  *sarama.Config
	meas  *requests
	seeds []string
	links map[string]*link // by address
}

func newPool(conf *sarama.Config, meas *requests, seeds []string) *pool {
	return &pool{conf: conf, meas: meas, seeds: slices.Compact(slices.Sorted(slices.Values(seeds))), links: map[string]*link{}}
}

func (p *pool) at(addr string) *link {
	l, ok := p.links[addr]
	if !ok {
		l = &link{addr: addr, conf: p.conf, meas: p.meas, most: map[string]int{}}
		p.links[addr] = l
	}
	return l
}

// keep closes every link whose address is not in addrs: brokers that left, and seeds that are no broker's advertised address.
func (p *pool) keep(addrs []string) {
	for addr, l := range p.links {
		if !slices.Contains(addrs, addr) {
			l.close()
			delete(p.links, addr)
		}
	}
}

func (p *pool) close() { p.keep(nil) }

// candidates are the addresses to ask for metadata: brokers that answered last time, then seeds, then those that did not answer.
func (p *pool) candidates() []string {
	var good, doubted []string
	for _, addr := range slices.Sorted(maps.Keys(p.links)) { // sorted: the same broker each time, so its view does not jump
		if p.links[addr].suspect.Load() {
			doubted = append(doubted, addr)
		} else {
			good = append(good, addr)
		}
	}
	for _, addr := range p.seeds {
		if p.links[addr] == nil {
			good = append(good, addr)
		}
	}
	return append(good, doubted...)
}

// metadataVersion is the last one that tells what the exporter may do with the cluster, so that this costs no request of its own.
const metadataVersion = 10

type metadataAnswer struct {
	from *link
	data *sarama.MetadataResponse
	err  error
}

// metadata asks one broker, and another one whenever the last one failed or is silent for the given patience. The first answer wins.
func (p *pool) metadata(ctx context.Context, patience time.Duration) (metadataAnswer, error) {
	ctx, cancel := context.WithCancel(ctx)
	candidates := p.candidates()
	answers := make(chan metadataAnswer)
	asked, waiting := 0, 0
	ask := func() {
		l := p.at(candidates[asked])
		asked, waiting = asked+1, waiting+1
		go func() { answers <- askMetadata(ctx, l) }()
	}
	defer func() { // whoever is still waiting is cut off, and has ended before we return
		cancel()
		for ; waiting > 0; waiting-- {
			<-answers
		}
	}()

	var problems []error
	silent := time.NewTicker(patience)
	defer silent.Stop()
	for ask(); ; {
		select {
		case a := <-answers:
			waiting--
			if a.err == nil {
				return a, nil
			}
			problems = append(problems, a.err)
			if asked < len(candidates) && ctx.Err() == nil {
				ask()
			} else if waiting == 0 {
				return metadataAnswer{}, fmt.Errorf("fetch metadata: %w", errors.Join(problems...))
			}
		case <-silent.C:
			if asked < len(candidates) {
				ask()
			}
		}
	}
}

func askMetadata(ctx context.Context, l *link) metadataAnswer {
	a := metadataAnswer{from: l}
	a.err = l.do(ctx, apiMetadata, func(b *sarama.Broker) (err error) {
		ask := sarama.NewMetadataRequest(l.conf.Version, nil)
		ask.Version = min(ask.Version, metadataVersion)
		ask.IncludeClusterAuthorizedOperations = true
		a.data, err = b.GetMetadata(ask)
		return err
	})
	if a.err == nil && len(a.data.Brokers) == 0 {
		a.err = fmt.Errorf("metadata from %s: it names no broker", l.addr)
	}
	return a
}
