// Package clusters shows several clusters in one scrape.
//
// It promises that all clusters are read at the same time, that the answer is there before the scrape's deadline with all that is known by
// then, and that a cluster which could not be reached the last time holds nobody up: its collection goes on while the answer is written, and
// the next scrape shows what came of it. It leaves out what is read.
package clusters

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Exporter reads one cluster.
type Exporter interface {
	// Refresh returns when there is a fresh reading or the attempt has failed, or when ctx ends; in that case the attempt goes on.
	Refresh(ctx context.Context)
	// Ready is nil once the cluster has been reached.
	Ready() error
	// Down tells whether the last attempt did not reach the cluster.
	Down() bool
	// Run is the exporter's life.
	Run(ctx context.Context) error
}

// Member is a cluster with its name.
type Member struct {
	Name     string
	Exporter Exporter
}

// Clusters are all clusters of one process.
type Clusters struct {
	members []Member
	timeout time.Duration
}

// grace is what a cluster that was down is waited for, when others are up: long enough for one that is back to be in the answer.
const grace = 500 * time.Millisecond

// New puts the members together. The timeout is for scrapes that set none.
func New(timeout time.Duration, members ...Member) (*Clusters, error) {
	if len(members) == 0 || timeout <= 0 {
		return nil, fmt.Errorf("clusters: at least one and a positive timeout are required (got %d and %s)", len(members), timeout)
	}
	return &Clusters{members: members, timeout: timeout}, nil
}

// Run is the life of all. It ends when ctx does, or with the first error.
func (c *Clusters) Run(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, m := range c.members {
		all.Go(func() error { return m.Exporter.Run(ctx) })
	}
	return all.Wait()
}

// Ready is nil once one of the clusters has been reached. Waiting for all would let one that is down take the others out of service.
func (c *Clusters) Ready() error {
	var problems []error
	for _, m := range c.members {
		err := m.Exporter.Ready()
		if err == nil {
			return nil
		}
		if m.Name != "" {
			err = fmt.Errorf("%s: %w", m.Name, err)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// Scrape refreshes all clusters before next shows them.
func (c *Clusters) Scrape(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.Refresh(r)
		next.ServeHTTP(w, r)
	})
}

// Refresh returns when a scrape can be answered, within what it allows: every cluster that was up has a fresh reading or has failed. Those
// that were down are waited for as long as that takes, or for the grace. If none was up nobody is held up by waiting for all.
func (c *Clusters) Refresh(scrape *http.Request) {
	ctx, cancel := context.WithTimeout(scrape.Context(), scrapeTime(scrape.Header.Get(timeoutHeader), c.timeout))
	defer cancel()
	enough, cancel := context.WithCancel(ctx)
	defer cancel()
	var up, down sync.WaitGroup
	healthy := false
	for _, m := range c.members {
		if m.Exporter.Down() {
			down.Go(func() { m.Exporter.Refresh(enough) })
			continue
		}
		healthy = true
		up.Go(func() { m.Exporter.Refresh(ctx) })
	}
	began := time.Now()
	up.Wait()
	if healthy {
		rest := time.AfterFunc(grace-time.Since(began), cancel)
		defer rest.Stop()
	}
	down.Wait()
}
