package workload_test

import (
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/loadgen/workload"
)

// sound has nothing to warn of.
const sound = `name: w
topic: {partitions: 12, config: {retention.ms: "600000"}}
`

func TestWarningsNameTheFieldTheValueAndWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string // of the one warning; none: no warning
	}{
		"nothing to warn of": {sound, nil},
		"linger beyond half the SLO": {sound + "producer: {linger: 101ms}\n",
			[]string{"producer.linger 101ms", "slo.p99 200ms", "lower it or raise"}},
		"linger of half the SLO":  {sound + "producer: {linger: 100ms}\n", nil},
		"no acknowledgements":     {sound + "producer: {acks: none}\n", []string{"producer.acks none", "take leader or all"}},
		"gives up before the SLO": {sound + "producer: {give_up: 1s}\nslo: {p99: 1s}\n", []string{"producer.give_up 1s", "Raise it"}},
		"one transactional client": {sound + "producer: {clients: 1, idempotent: true, transactions: {records: 10}}\nconsumer: {isolation: read_committed}\n",
			[]string{"producer.clients 1", "add clients"}},
		"one client at a high rate": {sound + "schedule: {rate: 160000}\nproducer: {clients: 1, in_flight: 100000}\n",
			[]string{"producer.clients 1 at 160000 records/s", "Take a client for each processor"}},
		"one client at a low rate": {sound + "schedule: {rate: 1000}\nproducer: {clients: 1}\n", nil},
		"fewer partitions than clients": {sound + "producer: {clients: 13}\n",
			[]string{"producer.clients 13", "topic.partitions 12", "at least as many partitions"}},
		"in flight below the rate times the SLO": {sound + "schedule: {shape: ramp, rate: 10, to: 100000, over: 1m}\n",
			[]string{"producer.in_flight 4096", "20000 records", "100000 records/s", "Raise it"}},
		"in flight below the highest stage": {sound + "schedule: {shape: steps, stages: [{rate: 100, duration: 1m}, {rate: 50000, duration: 1m}, {rate: 200}]}\n",
			[]string{"producer.in_flight 4096", "50000 records/s"}},
		"in flight below the crest": {sound + "schedule: {shape: sine, rate: 15000, amplitude: 15000, period: 1m}\n",
			[]string{"producer.in_flight 4096", "30000 records/s"}},
		"records too large to have many under way": {sound + "schedule: {rate: 10000}\npayload: {bytes: 100000}\nproducer: {in_flight: 4096}\n",
			[]string{"payload.bytes 100000", "670 records", "below the 2000", "several copies"}},
		"nothing read back":                {sound + "consumer: {clients: 0}\n", []string{"consumer.clients 0", "slo.p99", "Take at least 1"}},
		"fetches held back":                {sound + "consumer: {fetch_min: 100000, max_wait: 150ms}\n", []string{"consumer.fetch_min 100000", "consumer.max_wait 150ms", "lower max_wait"}},
		"a long wait for the first byte":   {sound + "consumer: {max_wait: 5s}\n", nil},
		"fetches smaller than a record":    {sound + "consumer: {fetch_max: 1024}\npayload: {bytes: 2000}\n", []string{"consumer.fetch_max 1024", "2000 bytes", "Raise it"}},
		"committed only, no transactions":  {sound + "consumer: {isolation: read_committed}\n", []string{"consumer.isolation read_committed", "no effect"}},
		"aborted records are read":         {sound + "producer: {idempotent: true, transactions: {records: 10, abort_rate: 0.1}}\n", []string{"consumer.isolation read_uncommitted", "take read_committed"}},
		"everything is aborted":            {sound + "producer: {idempotent: true, transactions: {records: 10, abort_rate: 1}}\nconsumer: {isolation: read_committed}\n", []string{"producer.transactions.abort_rate 1", "Lower it"}},
		"transactions that take too long":  {sound + "schedule: {rate: 100}\nproducer: {idempotent: true, transactions: {records: 10}}\nconsumer: {isolation: read_committed}\n", []string{"producer.transactions.records 10", "200ms", "100 records/s", "fewer records or clients"}},
		"no warm-up":                       {sound + "warmup: 0s\n", []string{"warmup 0s", "take 10s or more"}},
		"closed loop":                      {sound + "schedule: {shape: closed, in_flight: 64}\n", []string{"schedule.shape closed", "take an open shape"}},
		"ramp within the warm-up":          {sound + "schedule: {shape: ramp, rate: 10, to: 100, over: 10s}\n", []string{"schedule.over 10s", "warmup 10s", "Lengthen it"}},
		"burst beyond what may be sent":    {sound + "schedule: {shape: burst, size: 5000, period: 1s}\n", []string{"schedule.size 5000", "producer.in_flight 4096", "Raise in_flight"}},
		"nothing to compress":              {sound + "producer: {codec: zstd}\npayload: {compressibility: 0}\n", []string{"producer.codec zstd", "payload.compressibility 0", "Take codec none"}},
		"nothing to compress for a broker": {"name: w\npayload: {compressibility: 0}\ntopic: {config: {compression.type: lz4, retention.ms: 1000}}\n", []string{"topic.config.compression.type lz4", "payload.compressibility 0"}},
		"a broker that takes it as it is":  {"name: w\npayload: {compressibility: 0}\ntopic: {config: {compression.type: producer, retention.ms: 1000}}\n", nil},
		"nothing left after compression":   {sound + "producer: {codec: gzip}\npayload: {compressibility: 1}\n", []string{"payload.compressibility 1", "disk and network"}},
		"a mean that the cut moves":        {sound + "payload: {distribution: lognormal, bytes: 1000, min: 100, max: 1200, sigma: 1}\n", []string{"payload.bytes 1000", "payload.max 1200", "Widen the range"}},
		"too few sizes":                    {sound + "payload: {distribution: uniform, min: 100, max: 1200}\nproducer: {clients: 4, in_flight: 100}\n", []string{"producer.in_flight 100", "25 sizes", "take 50 or more"}},
		"no retention":                     {"name: w\n", []string{"topic.config", "retention.bytes", "set one"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := workload.Parse([]byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			got := w.Warnings(1)
			if tc.want == nil {
				if len(got) > 0 {
					t.Errorf("got %q, want none", got)
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("got %q, want one", got)
			}
			for _, want := range tc.want {
				if !strings.Contains(got[0], want) {
					t.Errorf("got %q, want %q in it", got[0], want)
				}
			}
			if !strings.HasSuffix(got[0], ".") {
				t.Errorf("got %q, want a sentence", got[0])
			}
		})
	}
}

func TestEachOfSeveralCopiesIsWarnedOfItsOwnPart(t *testing.T) {
	w, err := workload.Parse([]byte(sound + "schedule: {rate: 200000}\nproducer: {clients: 1, in_flight: 8192}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Warnings(1); len(got) != 2 {
		t.Errorf("alone: got %q, want one about the client and one about in_flight", got)
	}
	if got := w.Warnings(8); len(got) != 0 {
		t.Errorf("one of eight: got %q, want none", got)
	}
}

func TestWarningsComeTogether(t *testing.T) {
	w, err := workload.Parse([]byte("name: w\nproducer: {acks: none, linger: 1s}\nwarmup: 0s\nconsumer: {clients: 0}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Warnings(1); len(got) != 5 {
		t.Errorf("got %d: %q, want 5", len(got), got)
	}
}
