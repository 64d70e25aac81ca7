package drive_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

// Every mode of sending and of connecting runs once against a real broker: each record acknowledged is consumed once, and nothing else is.
func TestEveryMode(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t, kafkatest.Secure(t))
	s := b.Secured
	tls := "tls: {enabled: true, ca_file: " + s.CAFile
	secret, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := s.Issuer.Endpoint(t, "lab", strings.TrimSpace(string(secret)), time.Minute)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(s.Issuer.Token(t, time.Hour)), 0o600); err != nil {
		t.Fatal(err)
	}
	sasl := func(mechanism string) string {
		return "sasl: {mechanism: " + mechanism + ", username: " + kafkatest.User + ", password_file: " + s.PasswordFile + "}"
	}
	producer := func(p string) string {
		return "payload: {bytes: 1000, compressibility: 0.5}\nproducer: {clients: 2, " + p + "}"
	}
	security := func(s string) string { return producer("acks: leader") + "\nsecurity: {" + s + "}" }
	const transactions = "acks: all, idempotent: true, "
	var dead atomic.Bool // where one has nothing to consume, all have: they do not wait for it one after the other
	for name, c := range map[string]struct{ addr, parts string }{
		"acks none":                       {b.Addr, producer("acks: none")},
		"acks leader":                     {b.Addr, producer("acks: leader")},
		"acks all":                        {b.Addr, producer("acks: all")},
		"idempotent":                      {b.Addr, producer("acks: all, idempotent: true")},
		"transactions":                    {b.Addr, producer(transactions + "transactions: {records: 20}")},
		"transactions, a third aborted":   {b.Addr, producer(transactions + "transactions: {records: 20, abort_rate: 0.33}")},
		"transactions of one record":      {b.Addr, producer(transactions + "transactions: {records: 1, abort_rate: 0.2}")},
		"transactions, zstd, lingering":   {b.Addr, producer(transactions + "codec: zstd, linger: 2ms, transactions: {records: 50}")},
		"no codec":                        {b.Addr, producer("codec: none")},
		"gzip":                            {b.Addr, producer("codec: gzip")},
		"snappy":                          {b.Addr, producer("codec: snappy")},
		"lz4":                             {b.Addr, producer("codec: lz4")},
		"zstd":                            {b.Addr, producer("codec: zstd")},
		"zstd in batches":                 {b.Addr, producer("codec: zstd, linger: 100ms, batch: 10, max_batch: 10, sticky: 10")},
		"batches of time alone":           {b.Addr, producer("linger: 5ms")},
		"one record in each request":      {b.Addr, producer("max_batch: 1")},
		"TLS":                             {s.TLSAddr, security(tls + "}")},
		"TLS with a client's certificate": {s.MutualTLSAddr, security(tls + ", cert_file: " + s.CertFile + ", key_file: " + s.KeyFile + "}")},
		"SASL PLAIN":                      {s.SASLAddr, security(sasl("PLAIN"))},
		"SASL SCRAM-SHA-256":              {s.SASLAddr, security(sasl("SCRAM-SHA-256"))},
		"SASL SCRAM-SHA-512":              {s.SASLAddr, security(sasl("SCRAM-SHA-512"))},
		"SASL OAUTHBEARER, endpoint":      {s.OAuthAddr, security("sasl: {mechanism: OAUTHBEARER, oauth: {token_url: '" + endpoint.URL + "', client_id: lab, client_secret_file: " + s.PasswordFile + "}}")},
		"SASL OAUTHBEARER, file":          {s.OAuthAddr, security("sasl: {mechanism: OAUTHBEARER, oauth: {token_file: " + token + "}}")},
		"SASL PLAIN inside TLS":           {s.SASLTLSAddr, security(tls + "}, " + sasl("PLAIN"))},
		"SASL SCRAM-SHA-512 inside TLS":   {s.SASLTLSAddr, security(tls + "}, " + sasl("SCRAM-SHA-512"))},
		"transactions, SASL and TLS":      {s.SASLTLSAddr, producer(transactions+"transactions: {records: 20, abort_rate: 0.2}") + "\nsecurity: {" + tls + "}, " + sasl("SCRAM-SHA-256") + "}"},
		"stamps in headers":               {b.Addr, "payload: {bytes: 100, stamp: header}"},
		"stamps in headers of no value":   {b.Addr, "payload: {bytes: 0, stamp: header}"},
		"transactions, stamps in headers": {b.Addr, "payload: {bytes: 100, stamp: header}\nproducer: {clients: 2, " + transactions + "transactions: {records: 20, abort_rate: 0.2}}"},
		"uniform keys":                    {b.Addr, "keys: {distribution: uniform, count: 1000}"},
		"sequential keys":                 {b.Addr, "keys: {distribution: sequential, count: 1000}"},
		"Zipf's keys":                     {b.Addr, "keys: {distribution: zipf, count: 1000, exponent: 1.1}"},
		"a hot set of keys":               {b.Addr, "keys: {distribution: hot, count: 1000, hot: 10, hot_share: 0.9}"},
		"transactions with keys":          {b.Addr, "keys: {distribution: uniform, count: 1000}\nproducer: {clients: 2, " + transactions + "transactions: {records: 20, abort_rate: 0.2}}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(strings.ToLower(name))
			rate, enough := 300., uint64(300)
			// All of them have rates that a machine which does much else meanwhile can carry: what is offered before the consumer has joined waits for it,
			// and the end of a load for all of that. A transaction takes 5 ms and more, many times that on such a machine, and its producer does nothing
			// else meanwhile; and a producer without acknowledgements is told by nobody that the broker cannot keep up.
			switch {
			case strings.Contains(c.parts, "records: 1,"):
				rate, enough = 10, 30
			case strings.Contains(c.parts, "max_batch: 1}"):
				rate, enough = 100, 100
			case strings.Contains(c.parts, "transactions"):
				rate, enough = 50, 100
			}
			if dead.Load() {
				t.Fatal("another mode had nothing to consume")
			}
			wanted := strings.Contains(c.parts, "abort_rate")
			l := begin(t, b, c.addr, topic, mode(t, topic, c.parts), rate)
			defer func() {
				if l.engine.Totals().Consumed == 0 {
					dead.Store(true)
				}
			}()
			until(t, "enough records consumed", 2*time.Minute, func() bool {
				total := l.engine.Totals()
				return total.Consumed > enough && (total.Aborted > 0 || !wanted)
			})
			total, faults := l.end(t), l.engine.Faults()
			if total.Failed > 0 || total.Consumed != total.Acked+faults.Redelivered || faults.Lost+faults.Duplicated+faults.Reordered+faults.Corrupted+faults.Uncommitted > 0 {
				t.Errorf("got %d offered, %d acknowledged, %d aborted, %d failed, %d consumed, %+v", total.Offered, total.Acked, total.Aborted, total.Failed, total.Consumed, faults)
			}
			if wanted != (total.Aborted > 0) {
				t.Errorf("got %d records aborted of %d", total.Aborted, total.Offered)
			}
			if got, want := stored(t, b, topic).String(), codec(c.parts); got != want {
				t.Errorf("got batches that are compressed with %s, want %s", got, want)
			}
		})
	}
	t.Run("what transactions promise", func(t *testing.T) { promises(t, b) })
	t.Run("two groups, in which consumers come and go", func(t *testing.T) { rebalanced(t, b) })
}

var named = regexp.MustCompile(`codec: (\w+)`)

// codec is what a workload's parts ask for.
func codec(parts string) string {
	if m := named.FindStringSubmatch(parts); m != nil {
		return m[1]
	}
	return "none"
}

// stored is how the first batch of a topic is compressed in the broker's log.
func stored(t *testing.T, b *kafkatest.Broker, topic string) sarama.CompressionCodec {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{b.Addr}, ID: "test"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	client, err := sarama.NewClient([]string{b.Addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	partitions, err := client.Partitions(topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range partitions {
		leader, err := client.Leader(topic, p)
		if err != nil {
			t.Fatal(err)
		}
		ask := &sarama.FetchRequest{MinBytes: 1, MaxBytes: 1 << 20, Version: 4}
		ask.AddBlock(topic, p, 0, 1<<20, -1)
		answer, err := leader.Fetch(ask)
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range answer.GetBlock(topic, p).RecordsSet {
			if set.RecordBatch != nil && len(set.RecordBatch.Records) > 0 {
				return set.RecordBatch.Codec
			}
		}
	}
	t.Fatalf("topic %s: no batch in any partition", topic)
	return 0
}

// Each group reads everything, and of what a consumer had not committed when it left, or another came, its successor may read some again.
func rebalanced(t *testing.T, b *kafkatest.Broker) {
	l := begin(t, b, b.Addr, "groups", mustWorkload(t, "name: mode\nwarmup: 0s\npayload: {bytes: 300}\ntopic: {partitions: 6}\nproducer: {clients: 2}\n"+
		"consumer: {group: groups, groups: 2, clients: 2, max_wait: 20ms}\n"), 100)
	more := func(what string) {
		t.Helper()
		before := l.engine.Totals().Consumed
		until(t, what, 2*time.Minute, func() bool { return l.engine.Totals().Consumed > before+400 })
	}
	more("records consumed by both groups")
	leave := l.consume(t, t.Context(), 0) // another member of the first group
	more("records consumed by three in one group")
	leave()
	more("records consumed after one has left")
	total, faults := l.end(t), l.engine.Faults()
	if total.Acked == 0 || total.Failed > 0 || total.Consumed != 2*total.Acked+faults.Redelivered || faults.Lost+faults.Duplicated+faults.Reordered+faults.Corrupted > 0 {
		t.Errorf("got %d offered, %d acknowledged, %d failed, %d consumed, %+v", total.Offered, total.Acked, total.Failed, total.Consumed, faults)
	}
}

// What the engine counts is compared with what another client finds in the topic.
func promises(t *testing.T, b *kafkatest.Broker) {
	const producer = "payload: {bytes: 200}\nproducer: {clients: 2, acks: all, idempotent: true, transactions: {records: 25, abort_rate: 0.4}}"
	t.Run("readers of committed records see what was acknowledged and nothing else", func(t *testing.T) {
		l := begin(t, b, b.Addr, "aborts", mode(t, "aborts", producer), 50)
		until(t, "500 records consumed", 2*time.Minute, func() bool { return l.engine.Totals().Consumed > 500 })
		total := l.end(t)
		committed, _ := l.witness(t, sarama.ReadCommitted, total.Acked)
		all, _ := l.witness(t, sarama.ReadUncommitted, total.Acked+total.Aborted)
		if uint64(committed) != total.Acked || uint64(all) != total.Acked+total.Aborted {
			t.Errorf("got %d acknowledged and %d aborted, but %d committed of %d in the topic", total.Acked, total.Aborted, committed, all)
		}
		if part := float64(total.Aborted) / float64(total.Offered); part < 0.2 || part > 0.6 {
			t.Errorf("got a part of %.2f aborted, want about 0.4", part)
		}
	})
	t.Run("a transaction that does not fill up is committed within a second or so", func(t *testing.T) {
		parts := strings.NewReplacer("records: 25", "records: 1000", "abort_rate: 0.4", "abort_rate: 0").Replace(producer)
		l := begin(t, b, b.Addr, "slow", mode(t, "slow", parts), 20)
		until(t, "40 records consumed", 2*time.Minute, func() bool { return l.engine.Totals().Consumed >= 40 })
		total := l.end(t)
		if total.Acked != total.Offered || total.Consumed != total.Acked+l.engine.Faults().Redelivered {
			t.Errorf("got %d offered, %d acknowledged, %d consumed", total.Offered, total.Acked, total.Consumed)
		}
		// What the commit takes is part of the response time, and here nearly all of it is the wait for more.
		if longest, _ := total.Response.Quantile(1); longest < 500*time.Millisecond {
			t.Errorf("got a longest response of %v, want about a second: from the first record of a transaction to its commit", longest)
		}
	})
	t.Run("a record that the broker refuses takes its transaction with it, and no other", func(t *testing.T) {
		parts := "payload: {distribution: uniform, min: 100, max: 3000}\ntopic: {partitions: 1, config: {max.message.bytes: '4000'}}\n" +
			"producer: {clients: 2, acks: all, idempotent: true, max_batch: 1, transactions: {records: 5}}\n" + consumer("refused", "transactions")
		l := begin(t, b, b.Addr, "refused", mustWorkload(t, "name: mode\nwarmup: 0s\n"+parts), 10)
		refuse(t, b, "refused", "3000") // one record in thirty: each costs a new producer, which takes a busy broker a second
		until(t, "50 records consumed and some failed", 2*time.Minute, func() bool { return l.engine.Totals().Consumed > 50 && l.engine.Totals().Failed > 0 })
		total, faults := l.end(t), l.engine.Faults()
		if total.Consumed != total.Acked+faults.Redelivered || faults.Lost+faults.Duplicated+faults.Uncommitted > 0 {
			t.Errorf("got %d offered, %d acknowledged, %d failed, %d consumed, %+v", total.Offered, total.Acked, total.Failed, total.Consumed, faults)
		}
		if committed, _ := l.witness(t, sarama.ReadCommitted, total.Acked); uint64(committed) != total.Acked {
			t.Errorf("got %d acknowledged, but %d committed in the topic", total.Acked, committed)
		}
	})
	t.Run("a producer whose name somebody else took goes on with a new one", func(t *testing.T) { fenced(t, b, producer) })
}

// refuse makes the broker refuse larger batches than before, which a workload would not be allowed to ask for.
func refuse(t *testing.T, b *kafkatest.Broker, topic, size string) {
	t.Helper()
	admin := administrate(t, b)
	err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		"max.message.bytes": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &size},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
}

func administrate(t *testing.T, b *kafkatest.Broker) sarama.TransactionClusterAdmin {
	t.Helper()
	conf, err := kafka.Client{Brokers: []string{b.Addr}, ID: "test"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdmin([]string{b.Addr}, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() }) // the broker may be gone
	return admin.(sarama.TransactionClusterAdmin)
}

// fenced takes the transactional ids of a load away, which makes its producers useless.
func fenced(t *testing.T, b *kafkatest.Broker, producer string) {
	// Of one partition: over several, sarama's goroutines race about which error was the last.
	w := mustWorkload(t, "name: mode\nwarmup: 0s\ntopic: {partitions: 1}\n"+producer+"\n"+consumer("fenced", producer))
	l := begin(t, b, b.Addr, "fenced", w, 50)
	until(t, "100 records consumed", 2*time.Minute, func() bool { return l.engine.Totals().Consumed > 100 })
	running, err := administrate(t, b).ListTransactions(nil, nil, -1)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := kafka.Client{Brokers: []string{b.Addr}, ID: "thief"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	conf.Producer.Transaction.Retry.Max = 1000 // the owner is quick to take it back
	conf.Producer.Transaction.Retry.BackoffFunc = func(int, int) time.Duration { return 5 * time.Millisecond }
	taken := 0
	for _, r := range running {
		if !strings.HasPrefix(r.TransactionalID, "loadgen-fenced-") {
			continue
		}
		conf.Producer.Transaction.ID, conf.Producer.Idempotent, conf.Producer.RequiredAcks, conf.Net.MaxOpenRequests = r.TransactionalID, true, sarama.WaitForAll, 1
		thief, err := sarama.NewAsyncProducer([]string{b.Addr}, conf)
		if err != nil {
			t.Fatal(err)
		}
		if err := thief.Close(); err != nil {
			t.Fatal(err)
		}
		taken++
	}
	if taken != 2 {
		t.Fatalf("got %d transactional ids of two producers: %+v", taken, running)
	}
	before := l.engine.Totals()
	until(t, "100 records more", 2*time.Minute, func() bool { return l.engine.Totals().Acked > before.Acked+100 })
	total, faults := l.end(t), l.engine.Faults()
	if total.Failed == 0 {
		t.Error("got no record failed: nobody's name was taken")
	}
	committed, _ := l.witness(t, sarama.ReadCommitted, total.Acked)
	if uint64(committed) != total.Acked || total.Consumed != total.Acked+faults.Redelivered || faults.Lost+faults.Uncommitted > 0 {
		t.Errorf("got %d acknowledged, %d consumed, %d committed in the topic, %+v", total.Acked, total.Consumed, committed, faults)
	}
}

// After kill -9 of the only broker, what a producer without acknowledgements believed sent is gone: it was in the sockets' buffers. What was
// acknowledged by the leader is not: it was written to the log, and the page cache that holds the log's end belongs to the kernel, which
// outlives the process. To lose that too takes a power cut, or a leader that dies after answering and before its followers have fetched.
func TestAKilledBroker(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	loads := map[string]*load{}
	for topic, p := range map[string]string{
		"none":         "acks: none",
		"leader":       "acks: leader",
		"all":          "acks: all",
		"idempotent":   "acks: all, idempotent: true",
		"transactions": "acks: all, idempotent: true, transactions: {records: 10, abort_rate: 0.2}",
	} {
		rate := 100.
		if topic == "transactions" { // four a second: each waits for the broker several times
			rate = 40
		}
		w := mode(t, topic, "payload: {bytes: 300}\nproducer: {clients: 2, "+p+"}")
		loads[topic] = begin(t, b, b.Addr, topic, w, rate)
	}
	for topic, l := range loads {
		until(t, topic+": 100 records consumed", 2*time.Minute, func() bool { return l.engine.Totals().Consumed > 100 })
	}
	// A broker that stands still for a moment before it dies: records are sent meanwhile, and none is read from the sockets.
	if err := syscall.Kill(b.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := loads["none"].engine.Totals().Acked
	until(t, "50 records sent to nobody", time.Minute, func() bool { return loads["none"].engine.Totals().Acked > before+50 })
	b.Kill(t)
	b.Restart(t)
	for topic, l := range loads {
		before := l.engine.Totals().Acked
		until(t, topic+": acknowledged again", 2*time.Minute, func() bool { return l.engine.Totals().Acked > before+100 })
	}
	var ending sync.WaitGroup
	for _, l := range loads {
		ending.Go(func() { l.end(t) })
	}
	ending.Wait()
	for topic, l := range loads {
		t.Run(topic, func(t *testing.T) {
			total, faults := l.engine.Totals(), l.engine.Faults()
			different, _ := l.witness(t, sarama.ReadCommitted, total.Acked-faults.Lost)
			t.Logf("%d acknowledged, %d aborted, %d failed, %d consumed, %d in the topic, %+v", total.Acked, total.Aborted, total.Failed, total.Consumed, different, faults)
			if topic == "none" {
				if faults.Lost == 0 || faults.Lost != total.Acked-uint64(different) { // none failed: nobody told the producer
					t.Errorf("got %d lost, want those of %d acknowledged that are not among the %d in the topic", faults.Lost, total.Acked, different)
				}
				return
			}
			if faults.Lost+faults.Corrupted+faults.Uncommitted > 0 || uint64(different) < total.Acked {
				t.Errorf("got %d acknowledged, %d in the topic and %+v, want nothing lost", total.Acked, different, faults)
			}
			if topic != "leader" && topic != "all" && faults.Duplicated > 0 {
				t.Errorf("got %+v, want nothing twice", faults)
			}
		})
	}
}
