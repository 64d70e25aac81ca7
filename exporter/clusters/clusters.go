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
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kafkalab/kafkalab/exporter/exposition"
)

// Exporter reads one cluster.
type Exporter interface {
	// Refresh returns when there is a fresh reading or the attempt has failed, or when ctx ends; in that case the attempt goes on.
	Refresh(ctx context.Context)
	// Show adds the last reading to a page.
	Show(page *exposition.Page)
	// Shows lists the families that Show has samples of.
	Shows() []exposition.Family
	// Ready is nil once the cluster has been reached.
	Ready() error
	// Down tells whether the last attempt did not reach the cluster.
	Down() bool
	// Run is the exporter's life.
	Run(ctx context.Context) error
}

// Label is the one that tells the clusters apart.
const Label = "kafka_cluster"

// Member is a cluster with its name. The only one need not have a name, and its metrics then have no label for it.
type Member struct {
	Name     string
	Exporter Exporter
}

// Clusters are all clusters of one process.
type Clusters struct {
	members []Member
	named   bool
	pages   *exposition.Pages
	timeout time.Duration
}

// grace is what a cluster that was down is waited for, when others are up: long enough for one that is back to be in the answer.
const grace = 500 * time.Millisecond

// New puts the members together. The timeout is for scrapes that set none.
func New(timeout time.Duration, members ...Member) (*Clusters, error) {
	if len(members) == 0 || timeout <= 0 {
		return nil, fmt.Errorf("clusters: at least one and a positive timeout are required (got %d and %s)", len(members), timeout)
	}
	c := &Clusters{members: members, named: members[0].Name != "" || len(members) > 1, timeout: timeout}
	var families []exposition.Family
	seen := map[string]exposition.Family{}
	for _, m := range members {
		for _, f := range m.Exporter.Shows() {
			before, known := seen[f.Name]
			if known && !slices.Equal(before.Labels, f.Labels) {
				return nil, fmt.Errorf("clusters: %s: must have the same labels for each (got %q and %q)", f.Name, before.Labels, f.Labels)
			}
			if !known {
				families = append(families, f)
			}
			seen[f.Name] = f
		}
	}
	var shared []string
	if c.named {
		shared = []string{Label}
	}
	var err error
	if c.pages, err = exposition.NewPages(families, shared...); err != nil {
		return nil, err
	}
	return c, nil
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

// Scrape answers with a fresh reading of all clusters, followed by what next answers, which is the handler of a registry.
func (c *Clusters) Scrape(next http.Handler) http.Handler {
	show := c.pages.Before(next, c.show)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.refresh(r)
		show.ServeHTTP(w, r)
	})
}

func (c *Clusters) show(page *exposition.Page) {
	for _, m := range c.members {
		if c.named {
			page.Share(m.Name)
		}
		m.Exporter.Show(page)
	}
}

// refresh returns when a scrape can be answered, within what it allows: every cluster that was up has a fresh reading or has failed. Those
// that were down are waited for as long as that takes, or for the grace. If none was up nobody is held up by waiting for all.
func (c *Clusters) refresh(scrape *http.Request) {
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
