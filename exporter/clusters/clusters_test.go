package clusters_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kafkalab/kafkalab/exporter/clusters"
	"github.com/kafkalab/kafkalab/exporter/exposition"
)

// cluster is one that takes a while to be read, or never answers.
type cluster struct {
	takes time.Duration // for ever: 0
	ready error

	mu     sync.Mutex
	down   bool
	flight chan struct{} // the attempt under way, which goes on when nobody waits
	reads  float64
}

func (c *cluster) Refresh(ctx context.Context) {
	c.mu.Lock()
	if c.flight == nil {
		c.flight = make(chan struct{})
		deadline, _ := ctx.Deadline()
		go c.fly(c.flight, c.takes, time.Until(deadline))
	}
	flight := c.flight
	c.mu.Unlock()
	select {
	case <-flight:
	case <-ctx.Done():
	}
}

func (c *cluster) fly(flight chan struct{}, takes, limit time.Duration) {
	answers := takes > 0 && takes < limit
	if answers {
		time.Sleep(takes)
	} else {
		time.Sleep(limit)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down, c.flight = !answers, nil
	if answers {
		c.reads++
	}
	close(flight)
}

func (c *cluster) Show(page *exposition.Page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	page.Add("kafka_reads", c.reads)
}

func (c *cluster) Shows() []exposition.Family {
	return []exposition.Family{{Name: "kafka_reads", Kind: "gauge", Help: "Readings."}}
}

func (c *cluster) Ready() error                  { return c.ready }
func (c *cluster) Down() bool                    { c.mu.Lock(); defer c.mu.Unlock(); return c.down }
func (c *cluster) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func scrape(t *testing.T, c *clusters.Clusters) (string, time.Duration) {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "10")
	began := time.Now()
	c.Scrape(promhttp.HandlerFor(prometheus.NewRegistry(), promhttp.HandlerOpts{})).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("got status %d: %s", w.Code, w.Body)
	}
	return w.Body.String(), time.Since(began)
}

func want(t *testing.T, answer string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(answer, l+"\n") {
			t.Errorf("got\n%s\nwant %s", answer, l)
		}
	}
}

func TestAClusterThatIsDownHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick, slow, dead := &cluster{takes: 200 * time.Millisecond}, &cluster{takes: 2 * time.Second}, &cluster{}
		c, err := clusters.New(10*time.Second, clusters.Member{Name: "quick", Exporter: quick}, clusters.Member{Name: "slow", Exporter: slow},
			clusters.Member{Name: "dead", Exporter: dead})
		if err != nil {
			t.Fatal(err)
		}
		answer, took := scrape(t, c)
		want(t, answer, `kafka_reads{kafka_cluster="quick"} 1`, `kafka_reads{kafka_cluster="slow"} 1`, `kafka_reads{kafka_cluster="dead"} 0`)
		if took > 9500*time.Millisecond {
			t.Errorf("the first scrape, which cannot know: took %s of 10 s", took)
		}
		synctest.Wait() // until it is known that the dead one is
		answer, took = scrape(t, c)
		want(t, answer, `kafka_reads{kafka_cluster="quick"} 2`, `kafka_reads{kafka_cluster="slow"} 2`)
		if took != 2*time.Second {
			t.Errorf("got an answer after %s, want it with the slowest one that is up, after 2 s", took)
		}

		time.Sleep(10 * time.Second) // the attempt has ended
		dead.mu.Lock()
		dead.takes = 300 * time.Millisecond
		dead.mu.Unlock()
		answer, took = scrape(t, c)
		want(t, answer, `kafka_reads{kafka_cluster="quick"} 3`, `kafka_reads{kafka_cluster="slow"} 3`, `kafka_reads{kafka_cluster="dead"} 1`)
		if took != 2*time.Second {
			t.Errorf("with one that is back: took %s", took)
		}
	})
}

func TestOneThatIsSlowToComeBackIsShownByTheNextScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick, back := &cluster{takes: 100 * time.Millisecond}, &cluster{takes: 3 * time.Second, down: true}
		c, err := clusters.New(10*time.Second, clusters.Member{Name: "quick", Exporter: quick}, clusters.Member{Name: "back", Exporter: back})
		if err != nil {
			t.Fatal(err)
		}
		answer, took := scrape(t, c)
		want(t, answer, `kafka_reads{kafka_cluster="back"} 0`)
		if took != 500*time.Millisecond {
			t.Errorf("took %s, want the grace of 500 ms", took)
		}
		time.Sleep(5 * time.Second)
		answer, _ = scrape(t, c)
		want(t, answer, `kafka_reads{kafka_cluster="back"} 2`)
	})
}

func TestWhenNoneIsUpTheScrapeWaitsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := &cluster{takes: 3 * time.Second, down: true}
		c, err := clusters.New(10*time.Second, clusters.Member{Exporter: back})
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := scrape(t, c)
		want(t, answer, "kafka_reads 1") // without a name no label
	})
}

func TestReadyOnceOneClusterHasBeenReached(t *testing.T) {
	a, b := &cluster{ready: errors.New("no answer")}, &cluster{ready: errors.New("wrong password")}
	c, err := clusters.New(time.Second, clusters.Member{Name: "a", Exporter: a}, clusters.Member{Name: "b", Exporter: b})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(); err == nil || !strings.Contains(err.Error(), "a: no answer") || !strings.Contains(err.Error(), "b: wrong password") {
		t.Errorf("none reached: got %v", err)
	}
	b.ready = nil
	if err := c.Ready(); err != nil {
		t.Errorf("one reached: got %v", err)
	}
}
