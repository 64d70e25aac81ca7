package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/lead"
	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/trial"
)

// elect makes this process one of those that may act on the target.
func (p *parts) elect(kube kubernetes.Interface) (err error) {
	t := p.config.File.Target
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name this process: %w", err)
	}
	unclaimed, err := p.target(0)
	if err != nil {
		return err
	}
	p.election, err = lead.New(lead.Config{
		Client: kube, Namespace: t.Namespace, Name: "kafkalab-tuner-" + t.Name, Identity: host, Logger: p.log, Highest: unclaimed.Highest,
		Seen:    func(holder string) { p.waits(status.Standby, holder+" holds the lease") },
		Trouble: func(err error) { p.waits(status.Holding, "take the lease: "+err.Error()) },
	})
	return err
}

// waits shows for what the work waits, while there is none.
func (p *parts) waits(state status.State, reason string) {
	if p.seat.taken() {
		return
	}
	p.board.Update(func(s *status.Snapshot) { s.State, s.Reason = state, reason })
}

// work is the loop, in a mode that acts only while the lease is held.
func (p *parts) work(ctx context.Context) error {
	if p.election == nil {
		return p.term(ctx, 0)
	}
	return p.election.Run(ctx, func(ctx context.Context, term int64) error {
		err := p.term(ctx, term)
		if errors.Is(err, apply.ErrFenced) {
			p.log.Warn("stops acting", "err", err)
			return nil
		}
		return err
	})
}

// again is the pause between two tries to begin a term.
const again = 2 * time.Second

// term claims the target, opens the ledger and runs the loop. What another tuner may have written to the ledger meanwhile is read anew.
func (p *parts) term(ctx context.Context, term int64) (err error) {
	c := p.config
	target, err := p.target(term)
	if err != nil {
		return err
	}
	if term > 0 {
		if err := p.claim(ctx, target); err != nil || ctx.Err() != nil {
			return err
		}
	}
	book, records, err := ledger.Open(p.settings.ledger)
	for ; errors.Is(err, ledger.ErrLocked) && term > 0 && ctx.Err() == nil; book, records, err = ledger.Open(p.settings.ledger) {
		p.waits(status.Holding, "the tuner that held the lease before still writes the ledger")
		sleep(ctx, again)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	if book.Torn() > 0 {
		p.log.Warn("removed an unfinished record from the end of the ledger", "bytes", book.Torn())
	}
	c.Cluster, c.Herald, c.Journal, c.Records, c.Term, c.Torn = target, target, p.audit.Of(book, records), records, term, book.Torn()
	if p.notes != nil {
		c.Journal = p.notes.Of(c.Journal, records)
		defer beside(ctx, p.notes.Run)()
	}
	runner, err := trial.New(c)
	if err != nil {
		return err
	}
	p.seat.take(runner)
	defer p.seat.take(nil)
	return runner.Run(ctx)
}

// beside starts work; what it returns ends it and waits until it has ended.
func beside(ctx context.Context, work func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		work(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func (p *parts) claim(ctx context.Context, t target) error {
	for {
		err := t.Claim(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, apply.ErrFenced) {
			return err
		}
		p.waits(status.Holding, err.Error())
		sleep(ctx, again)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// seat is where the runner of the present term sits, so that orders reach it.
type seat struct {
	mu     sync.Mutex
	runner *trial.Runner
}

func (s *seat) take(r *trial.Runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runner = r
}

func (s *seat) taken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runner != nil
}

var errNobody = errors.New("this tuner does not act now; ask the one that holds the lease, or later")

// Order hands the order to the runner.
func (s *seat) Order(o orders.Order) error {
	s.mu.Lock()
	r := s.runner
	s.mu.Unlock()
	if r == nil {
		return fmt.Errorf("%w: %w", trial.ErrConflict, errNobody)
	}
	return r.Order(o)
}

// stopped is the switch: while its file is there and not empty of meaning, the tuner takes back what it tries and does nothing more. A ConfigMap that is
// mounted, or anything else that can make a file, turns it.
func (s settings) stopped() string {
	if s.stopFile == "" {
		return ""
	}
	text, err := os.ReadFile(s.stopFile)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	why := strings.TrimSpace(string(text))
	switch {
	case err != nil: // whether it says stop is not known, so it might
		return fmt.Sprintf("the switch cannot be read: %v", err)
	case why == "":
		return fmt.Sprintf("the switch is off: %s is there", s.stopFile)
	}
	return "the switch is off: " + why
}
