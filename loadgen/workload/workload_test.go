package workload_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/workload"
)

func TestPresetsAreSound(t *testing.T) {
	want := []string{"bulk", "chatty", "durable", "recompress"}
	if got := workload.Names(); !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if !slices.Contains(want, workload.Default) {
		t.Errorf("the default %q is no preset", workload.Default)
	}
	for _, name := range want {
		w, err := workload.Preset(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if w.Name != name || w.About == "" {
			t.Errorf("%s: got name %q, about %q", name, w.Name, w.About)
		}
		for _, key := range []string{"retention.ms", "retention.bytes", "segment.bytes"} {
			if w.Topic.Config[key] == "" {
				t.Errorf("%s: %s is not set, so the disk fills", name, key)
			}
		}
	}
	for name, key := range map[string]string{"durable": "flush.messages", "recompress": "compression.type", "bulk": "flush.messages"} {
		if w, err := workload.Preset(name); err != nil || w.Topic.Config[key] == "" {
			t.Errorf("%s does not set %s: %v", name, key, err)
		}
	}
	if _, err := workload.Preset("nosuch"); err == nil || !strings.Contains(err.Error(), `"nosuch"`) || !strings.Contains(err.Error(), "durable") {
		t.Errorf("an unknown name: got %v, want it and what is allowed", err)
	}
}

func TestAFileNeedsOnlyAName(t *testing.T) {
	w, err := workload.Parse([]byte("name: mine\n"))
	if err != nil {
		t.Fatal(err)
	}
	if w.Producer.Acks != "all" || w.Producer.GiveUp != 30*time.Second || w.Consumer.Group != "lab" || w.Topic.Partitions != 6 {
		t.Errorf("defaults missing: %+v", w)
	}
	name := filepath.Join(t.TempDir(), "w.yaml")
	if err := os.WriteFile(name, []byte("name: mine\nwarmup: 3s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w, err := workload.File(name); err != nil || w.Warmup != 3*time.Second {
		t.Errorf("got warm-up %v, %v", w.Warmup, err)
	}
	if _, err := workload.File(name + ".none"); err == nil || !strings.Contains(err.Error(), ".none") {
		t.Errorf("a file that is not there: got %v", err)
	}
}

func TestBadFilesAreRefusedWithFieldValueAndWhatIsAllowed(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                    {"empty"},
		"name: [":                             {"line 1"},
		"name: a\n---\nname: b\n":             {"more than one"},
		"name: a\nnam: b":                     {"line 2", "nam"},
		"name: a\nproducer: {ack: all}":       {"line 2", "ack"},
		"name: a\nwarmup: soon":               {"line 2", "soon"},
		"name: a\ntopic: {partitions: many}":  {"line 2", "many"},
		"about: x":                            {`name: must be lower-case`, `got ""`},
		"name: Big":                           {`name: must be`, `"Big"`},
		"name: a\nwarmup: -1s":                {"warmup: must be within 0s..1h0m0s", "-1s"},
		"name: a\nwarmup: 2h":                 {"warmup:", "2h0m0s"},
		"name: a\ntopic: {partitions: 0}":     {"topic.partitions: must be within 1..10000", "got 0"},
		"name: a\ntopic: {partitions: 20000}": {"topic.partitions:", "20000"},
		"name: a\ntopic: {replication: 0}":    {"topic.replication: must be within 1..100", "got 0"},
		"name: a\ntopic: {config: {flush.messages: ''}}":                              {"topic.config.flush.messages: must have a value"},
		"name: a\ntopic: {config: {' x': '1'}}":                                       {"topic.config:", `" x"`},
		"name: a\npayload: {bytes: 1000001}":                                          {"payload.bytes:", "1000001"},
		"name: a\npayload: {compressibility: 1.5}":                                    {"payload.compressibility: must be within 0..1", "1.5"},
		"name: a\npayload: {compressibility: .nan}":                                   {"payload.compressibility:", "NaN"},
		"name: a\npayload: {distribution: uniform, bytes: 0, min: 200, max: 100}":     {"payload.min: must not exceed max 100", "200"},
		"name: a\npayload: {distribution: lognormal, bytes: 250, min: 200, max: 300}": {"payload.sigma: must be above 0"},
		"name: a\nproducer: {clients: 0}":                                             {"producer.clients: must be within 1..1024", "got 0"},
		"name: a\nproducer: {acks: '1'}":                                              {"producer.acks: must be one of none, leader, all", `"1"`},
		"name: a\nproducer: {acks: leader, idempotent: true}":                         {"producer.idempotent: needs acks all", `"leader"`},
		"name: a\nproducer: {codec: brotli}":                                          {"producer.codec: must be one of none, gzip, snappy, lz4, zstd", `"brotli"`},
		"name: a\nproducer: {linger: -1ms}":                                           {"producer.linger:", "-1ms"},
		"name: a\nproducer: {batch: 10}":                                              {"producer.batch: needs a linger", "got 10"},
		"name: a\nproducer: {linger: 5ms, batch: 10, max_batch: 5}":                   {"producer.max_batch: must be at least batch 10", "got 5"},
		"name: a\nproducer: {sticky: 0}":                                              {"producer.sticky: must be within 1", "got 0"},
		"name: a\nproducer: {in_flight: 0}":                                           {"producer.in_flight:", "got 0"},
		"name: a\nproducer: {clients: 8, in_flight: 7}":                               {"producer.in_flight: must be at least one per client, 8", "got 7"},
		"name: a\nproducer: {give_up: 10ms}":                                          {"producer.give_up: must be within 1s..10m0s", "10ms"},
		"name: a\nconsumer: {clients: 0}":                                             {"consumer.clients: must be within 1..64", "got 0"},
		"name: a\nconsumer: {clients: 7}":                                             {"consumer.clients: must not exceed topic.partitions", "got 7"},
		"name: a\nconsumer: {group: ''}":                                              {"consumer.group: must be set"},
		"name: a\nconsumer: {fetch_min: 0}":                                           {"consumer.fetch_min:", "got 0"},
		"name: a\nconsumer: {fetch_max: 100}":                                         {"consumer.fetch_max:", "got 100"},
		"name: a\nconsumer: {max_wait: 1us}":                                          {"consumer.max_wait: must be within 1ms..10s", "1µs"},
		"name: a\nslo: {p99: 0s}":                                                     {"slo.p99: must be within 1ms..10m0s", "0s"},
		"name: a\nslo: {min: 0}":                                                      {"slo.min: must be above 0", "got 0"},
		"name: a\nslo: {min: 100, start: 50}":                                         {"slo.start: must be at least slo.min 100", "got 50"},
		"name: a\nslo: {max: 20}":                                                     {"slo.max: must be within slo.start 50", "got 20"},
	} {
		_, err := workload.Parse([]byte(text))
		if err == nil {
			t.Errorf("%q was taken", text)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: got %q, want it to mention %q", text, err, w)
			}
		}
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	_, err := workload.Parse([]byte("name: X\ntopic: {partitions: 0}\nproducer: {acks: some, codec: rar}\npayload: {bytes: 1, compressibility: 2}\nslo: {p99: -1s}\n"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"name:", "topic.partitions:", "producer.acks:", "producer.codec:", "payload.bytes:", "payload.compressibility:", "slo.p99:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("got %q, want it to name %s too", err, field)
		}
	}
}
