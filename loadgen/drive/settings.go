package drive

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kafkalab/kafkalab/loadgen/report"
)

// Settings are the settings of the clients as they take effect, those of sarama and our own, for the report. They hold no secret.
func (k Kafka) Settings() (map[string]string, error) {
	p, err := k.ProducerConfig(0)
	if err != nil {
		return nil, err
	}
	w := k.Workload
	out := map[string]string{
		"brokers":                      strings.Join(k.Client.Brokers, ","),
		"tls":                          strconv.FormatBool(k.Client.Security.TLS.Enabled),
		"sasl.mechanism":               "none",
		"net.dial.timeout":             p.Net.DialTimeout.String(),
		"net.read.timeout":             p.Net.ReadTimeout.String(),
		"metadata.refresh":             p.Metadata.RefreshFrequency.String(),
		"producer.clients":             fmt.Sprint(w.Producer.Clients),
		"producer.in_flight":           fmt.Sprint(w.Producer.Clients * w.Slots()),
		"producer.acks":                w.Producer.Acks,
		"producer.idempotent":          strconv.FormatBool(w.Producer.Idempotent),
		"producer.compression":         p.Producer.Compression.String(),
		"producer.linger":              p.Producer.Flush.Frequency.String(),
		"producer.batch.records":       limit(p.Producer.Flush.Messages, "as soon as the connection is free"),
		"producer.batch.records.max":   limit(p.Producer.Flush.MaxMessages, "no limit"),
		"producer.batch.bytes.max":     fmt.Sprint(p.Producer.MaxMessageBytes),
		"producer.requests.in_flight":  fmt.Sprint(p.Net.MaxOpenRequests),
		"producer.request.timeout":     p.Producer.Timeout.String(),
		"producer.give_up":             w.Producer.GiveUp.String(),
		"producer.retry.backoff":       p.Producer.Retry.Backoff.String(),
		report.SettingRetries:          "counted",
		"producer.partitioner":         "round robin, " + fmt.Sprint(w.Producer.Sticky) + " in a row",
		"producer.transaction.records": limit(w.Producer.Transactions.Records, "no transactions"),
		"producer.transaction.aborted": fmt.Sprint(w.Producer.Transactions.AbortRate),
		"consumer.groups":              fmt.Sprint(groups(w)),
		"consumer.clients":             fmt.Sprint(w.Consumer.Clients),
	}
	if m := k.Client.Security.SASL.Mechanism; m != "" {
		out["sasl.mechanism"] = m
	}
	if n := w.Producer.Transactions.Records; n > 0 {
		out["producer.requests.in_flight"] = "1" // sarama's condition
		out[report.SettingRetries] = report.RetriesUnseen
		out["producer.transaction.records"] = fmt.Sprint(min(n, w.Slots()))
	}
	if w.Keys.Length() > 0 {
		out["producer.partitioner"] = "murmur2 of the key"
	}
	if groups(w) == 0 {
		return out, nil
	}
	c, err := k.ConsumerConfig(0)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"consumer.group":               k.Workload.Consumer.Group,
		"consumer.isolation":           w.Consumer.Isolation,
		"consumer.fetch.min":           fmt.Sprint(c.Consumer.Fetch.Min),
		"consumer.fetch.partition.max": fmt.Sprint(c.Consumer.Fetch.Default),
		"consumer.fetch.wait.max":      c.Consumer.MaxWaitTime.String(),
		"consumer.session.timeout":     c.Consumer.Group.Session.Timeout.String(),
		"consumer.heartbeat":           c.Consumer.Group.Heartbeat.Interval.String(),
		"consumer.commit.interval":     c.Consumer.Offsets.AutoCommit.Interval.String(),
		"consumer.buffer.records":      fmt.Sprint(c.ChannelBufferSize),
	} {
		out[name] = value
	}
	return out, nil
}

func limit(n int, none string) string {
	if n == 0 {
		return none
	}
	return fmt.Sprint(n)
}
