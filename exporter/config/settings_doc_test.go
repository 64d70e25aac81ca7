package config_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kafkalab/kafkalab/exporter/config"
)

const settingsHead = "# Settings of the exporter\n\nMade by `go test ./exporter/config -run Document -update`; do not edit.\n" + `
One cluster is told by flags, several by a file (` + "`--config.file`" + `); each setting has the same name in both. ` + "`--config.check`" + ` says what the exporter would do by
them, or everything that is wrong with them at once, and exits; it asks nobody. A password is never a setting: a setting names the file or the variable that it is in.
Files that a file names are taken from its own folder.

` + "```yaml" + `
clusters:
  - name: production # the label kafka_cluster of all its metrics; needed where there are several
    kafka:
      brokers: ["kafka-0.example:9093", "kafka-1.example:9093"]
    tls: {enabled: true, ca_file: ca.pem}
    sasl: {mechanism: SCRAM-SHA-512, username: exporter, password_file: password}
    topic: {exclude: "_.*", granularity: topic}   # sums of topics, no single partitions
    group: {exclude: "console-consumer-.*", empty_for: 24h}
    series: {limit: 500000, exclude: "kafka_topic_config_info"}
  - name: test
    kafka:
      brokers: ["127.0.0.1:9092"]
` + "```" + `

Addresses, TLS and passwords of the exporter's own pages are flags of the process, those that all Prometheus exporters have: ` + "`--web.listen-address`, `--web.config.file`\n" +
	"and `--web.systemd-socket`; its log has `--log.level` and `--log.format`.\n" + `
| In a file | As a flag | Default | Meaning |
|---|---|---|---|
`

func TestSettingsDocumentIsUpToDate(t *testing.T) {
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(settingsHead)
	if _, err := config.Parse("example.yaml", []byte(example[1])); err != nil {
		t.Errorf("the example is refused: %v", err)
	}
	var doc strings.Builder
	doc.WriteString(settingsHead)
	app := kingpin.New("exporter", "")
	config.NewFlags(app)
	for _, f := range app.Model().Flags {
		if strings.HasPrefix(f.Name, "help") || strings.HasPrefix(f.Name, "completion") || strings.HasPrefix(f.Name, "config.") {
			continue
		}
		value := strings.Join(f.Default, ",")
		if value != "" {
			value = "`" + value + "`"
		} else if f.IsBoolFlag() {
			value = "`false`"
		}
		fmt.Fprintf(&doc, "| `%s` | `--%s` | %s | %s |\n", strings.ReplaceAll(f.Name, "-", "_"), f.Name, value, strings.ReplaceAll(f.Help, "|", `\|`))
	}
	doc.WriteString(`
Filters are regular expressions that match the whole name, and work before Kafka is asked: what they leave out costs no request.

Lag in seconds comes from what the exporter has seen of a partition's growth. After a start it has seen nothing, and asks Kafka: two or three questions for each
partition that a group has committed, fifteen at the worst, in the requests that a reading has left. So the ages are known from the second to fourth reading on;
a broker that leads more such partitions than about a quarter of ` + "`lag.questions`" + ` takes more readings in proportion.
`)
	golden(t, "../SETTINGS.md", doc.String())
}
