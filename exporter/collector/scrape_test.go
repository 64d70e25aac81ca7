package collector_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/kafkalab/kafkalab/exporter/clusters"
	"github.com/kafkalab/kafkalab/exporter/collector"
)

// handler answers scrapes as the program does.
func (e *exporter) handler(next http.Handler) http.Handler {
	e.t.Helper()
	shown, err := clusters.New(e.timeout, clusters.Member{Exporter: e})
	if err != nil {
		e.t.Fatal(err)
	}
	return shown.Scrape(next)
}

// scrape asks as Prometheus does and returns the answer and how long it took.
func (e *exporter) scrape(timeout string) (samples, time.Duration) {
	e.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	if timeout != "" {
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", timeout)
	}
	w := httptest.NewRecorder()
	began := time.Now()
	e.handler(promhttp.HandlerFor(e.reg, promhttp.HandlerOpts{})).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		e.t.Errorf("want status 200, got %d: %s", w.Code, w.Body)
	}
	return samples(w.Body.String()), time.Since(began)
}

func TestTheScrapeTimeoutIsTheDeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		header          string
		atLeast, before time.Duration
	}{
		"a scrape's timeout":              {"3", 2400 * time.Millisecond, 3 * time.Second},
		"a shorter one":                   {"1.5", 1100 * time.Millisecond, 1500 * time.Millisecond},
		"none: the limit":                 {"", 3500 * time.Millisecond, 12 * time.Second},
		"later than the limit: the limit": {"1e300", 3500 * time.Millisecond, 12 * time.Second},
		"no number: the limit":            {"NaN", 3500 * time.Millisecond, 12 * time.Second},
		"in the past: the limit":          {"-1", 3500 * time.Millisecond, 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it only waits
			e := newExporter(t, []string{silentListener(t)}, func(c *collector.Config) {
				c.Timeout, c.Kafka.Net.ReadTimeout = 10*time.Second, time.Minute // without the deadline it takes longer than any bound here
			})
			got, took := e.scrape(tt.header)
			got.want(t, map[string]string{"kafka_up": "0"})
			if took < tt.atLeast*4/10 || took > tt.before {
				t.Errorf("want an answer after at least %s and before %s, took %s", tt.atLeast*4/10, tt.before, took)
			}
		})
	}
}

func TestScrapesShareOneCollection(t *testing.T) {
	c := twoBrokers(t)
	c.brokers[0].SetLatency(250 * time.Millisecond) // time enough for all of them to ask
	c.start()
	e := newExporter(t, c.addrs()[:1], nil)
	e.scrape("10")
	first := c.requests(nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			got, _ := e.scrape("10")
			if n := len(got.of("kafka_consumer_group_lag")); n != 3 {
				t.Errorf("want 3 lags in each answer, got %d", n)
			}
		})
	}
	all.Wait()
	if n := c.requests(first)["Metadata"]; n < 1 || n > 3 {
		t.Errorf("want 50 scrapes at a time to make one collection (three at most), got %d", n)
	}
}

func TestAYoungSnapshotIsShownAgain(t *testing.T) {
	c := twoBrokers(t).start()
	e := newExporter(t, c.addrs(), func(c *collector.Config) { c.MinInterval = time.Minute })
	for range 5 {
		e.scrape("10")
	}
	if n := c.requests(nil)["Metadata"]; n != 1 {
		t.Errorf("want one collection within the minimal interval, got %d", n)
	}
}

func TestTheLastSnapshotIsShownForAStatedTime(t *testing.T) {
	c := twoBrokers(t)
	for i := range c.brokers {
		c.setAnswers(i, nil)
	}
	e := newExporter(t, c.addrs(), func(c *collector.Config) { c.MaxAge = 5 * time.Second })
	e.scrape("5")
	for _, b := range c.brokers {
		b.Close()
	}
	got, _ := e.scrape("5")
	got.want(t, map[string]string{
		"kafka_up": "0",
		`kafka_exporter_collector_success{collector="metadata"}`:    "0",
		`kafka_topic_partition_end_offset{partition="0",topic="a"}`: "10",
	})
	waitFor(t, 30*time.Second, "the old snapshot to be dropped", func() bool {
		got, _ := e.scrape("5")
		return len(got.of("kafka_topic_partition_end_offset")) == 0 && len(got.of("kafka_exporter_snapshot_age_seconds")) == 0
	})
}

func TestItStartsWithoutKafkaAndRecovers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // a free address, left again
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()

	e := newExporter(t, []string{addr}, nil)
	if e.Ready() == nil {
		t.Error("want not ready before the first collection")
	}
	e.collect(5*time.Second).want(t, map[string]string{"kafka_up": "0", "kafka_brokers": ""})
	if err := e.Ready(); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("want the reason with the address %s, got %v", addr, err)
	}

	b := sarama.NewMockBrokerAddr(t, 1, addr)
	t.Cleanup(b.Close)
	md := &sarama.MetadataResponse{Version: 10}
	md.AddBroker(addr, 1)
	b.SetHandlerByMap(map[string]sarama.MockResponse{
		"ApiVersionsRequest": sarama.NewMockApiVersionsResponse(t).SetApiKeys([]sarama.ApiVersionsResponseKey{
			{ApiKey: 3, MaxVersion: 12}, {ApiKey: 16, MaxVersion: 5}, {ApiKey: 18, MaxVersion: 4},
		}),
		"MetadataRequest":   sarama.NewMockWrapper(md),
		"ListGroupsRequest": sarama.NewMockWrapper(&sarama.ListGroupsResponse{Version: 5}),
	})
	e.collect(5*time.Second).want(t, map[string]string{"kafka_up": "1", "kafka_brokers": "1"})
	if err := e.Ready(); err != nil {
		t.Errorf("want ready after the first collection, got %v", err)
	}
}

func TestTheEndStopsACollectionUnderWay(t *testing.T) {
	e := newExporter(t, []string{silentListener(t)}, func(c *collector.Config) { c.Timeout = time.Minute })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		e.scrape("60")
	}()
	waitFor(t, 30*time.Second, "a collection to be under way", func() bool {
		stacks := make([]byte, 1<<20)
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("collector.(*collection).run"))
	})
	began := time.Now()
	cancel()
	<-ended
	<-answered
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("want the end within 3 s, took %s", took)
	}
}

func TestManyCollectionsLeaveNothingBehind(t *testing.T) {
	c := twoBrokers(t).start()
	c.setAnswers(1, map[string]sarama.MockResponse{"ListGroupsRequest": nil}) // each collection cuts off a request
	e := newExporter(t, c.addrs(), nil)
	e.collect(5 * time.Second) // every connection that there will be is made
	before := runtime.NumGoroutine()
	for range 10 {
		e.collect(300 * time.Millisecond)
	}
	waitFor(t, 30*time.Second, "the goroutines to be as many as before", func() bool { return runtime.NumGoroutine() <= before+1 })
}

func waitFor(t *testing.T, within time.Duration, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !met(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", within, what)
		}
	}
}

func TestTheRequestsToKafkaAreTimedInNativeHistograms(t *testing.T) {
	c := twoBrokers(t).start()
	e := newExporter(t, c.addrs(), nil)
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", string(expfmt.FmtProtoDelim))
	w := httptest.NewRecorder()
	e.handler(promhttp.HandlerFor(e.reg, promhttp.HandlerOpts{})).ServeHTTP(w, r)
	read := expfmt.NewDecoder(w.Body, expfmt.FmtProtoDelim)
	found := map[string]*dto.MetricFamily{}
	for {
		var f dto.MetricFamily
		err := read.Decode(&f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		found[f.GetName()] = &f
	}
	if found["kafka_up"] == nil || len(found["kafka_topic_partition_end_offset"].GetMetric()) == 0 {
		t.Errorf("want what the collection showed, got %d families", len(found))
	}
	timed := found["kafka_exporter_kafka_request_duration_seconds"].GetMetric()
	if len(timed) == 0 {
		t.Fatal("want the requests of this scrape's collection timed, got none")
	}
	for _, m := range timed {
		if len(m.GetHistogram().PositiveDelta) == 0 || len(m.GetHistogram().Bucket) == 0 {
			t.Errorf("want native and classic buckets, got %v", m)
		}
	}
}
