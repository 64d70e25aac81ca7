package collector_test

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/exporter/collector"
)

func TestCompatDocumentIsUpToDate(t *testing.T) {
	var doc strings.Builder
	var series strings.Builder
	series.WriteString("| Names | series for each partition | for each commit of a group |\n|---|---|---|\n")
	for _, names := range [][]collector.Naming{
		{collector.Native}, {collector.KafkaExporter}, {collector.KMinion}, {collector.Native, collector.KafkaExporter}, {collector.Native, collector.KMinion},
	} {
		partition, commit := perPartition(t, names...)
		fmt.Fprintf(&series, "| `%s` | %d | %d |\n", strings.Trim(strings.ReplaceAll(fmt.Sprint(names), " ", ","), "[]"), partition, commit)
	}
	fmt.Fprintf(&doc, compatIntro, series.String())
	for _, o := range originals {
		help := map[string]string{}
		for _, f := range shownAs(t, o.mode).families(t) {
			help[f.GetName()] = f.GetHelp()
		}
		all := facts(t, o.facts)
		fmt.Fprintf(&doc, "\n## %s\n\n| Metric | Labels | Meaning | What differs, and why |\n|---|---|---|---|\n", o.mode)
		for _, f := range all {
			if _, absent := o.absent[f.name]; !absent {
				meaning := cmp.Or(help[f.name], "Always 1; the labels hold how the program was built.")
				fmt.Fprintf(&doc, "| `%s` | %s | %s | %s |\n", f.name, strings.Join(f.labels, ", "), meaning, o.differs[f.name])
			}
		}
		doc.WriteString("\nNot shown:\n\n| Metric | Why |\n|---|---|\n")
		for _, f := range all {
			if why, absent := o.absent[f.name]; absent {
				fmt.Fprintf(&doc, "| `%s` | %s |\n", f.name, why)
			}
		}
	}
	golden(t, filepath.Join("..", "COMPAT.md"), doc.String())
}

// perPartition counts the families that have a sample for each partition, and those that have one for each commit.
func perPartition(t *testing.T, names ...collector.Naming) (partition, commit int) {
	for _, f := range shownAs(t, names...).families(t) {
		switch have := strings.Join(labelsOf(t, f), ","); have {
		case "partition,topic", "partition_id,topic_name":
			partition++
		case "group,partition,topic", "consumergroup,partition,topic", "group_id,partition_id,topic_name":
			commit++
		}
	}
	return partition, commit
}

const compatIntro = `# Names of other exporters

Made by ` + "`go test ./exporter/collector -run CompatDocument -update`" + `; do not edit.

` + "`--compat=kafka_exporter` and `--compat=kminion`" + ` show what was read of the clusters by the names and labels of these exporters, so that dashboards and
alerts made for them go on working. The names are instead of our own, since each set is paid for in series:

%s
While dashboards are moved, have several: ` + "`--compat=native,kafka_exporter`" + `. Our own names ([METRICS.md](METRICS.md)) are the ones with lag in seconds, min ISR, offline partitions,
group states and the rest that the other two lack. What the exporter says of itself (` + "`kafka_up`, `kafka_exporter_*`" + `) is there in each mode.

* Five names are the same as ours and mean the same; together they are shown once. ` + "`kafka_broker_info`" + ` has the labels of both when both are shown.
* What is not known is absent, as everywhere in this exporter: a −1 for "no commit" or a 0 for "no answer" would be added up, averaged and alerted on. So an
  alert on ` + "`kafka_consumergroup_lag == -1`" + ` never fires. Instead: ` + "`kafka_topic_partition_current_offset{topic=\"…\"} unless on (topic, partition) kafka_consumergroup_current_offset{consumergroup=\"…\"}`" + `.
* kafka_exporter's ` + "`--kafka.labels`" + ` and kminion's other prefixes have no equal here: labels of a target belong to Prometheus (` + "`labels`" + ` of a static config, relabelling), and so do
  other names (` + "`metric_relabel_configs`" + `).
* Checked: each metric and label that is asked for by Grafana's dashboards 7589, 14012, 14013 and 14014, the alerts of kafka_exporter's chart, Strimzi's kafka-exporter dashboard and
  alerts, and Grafana's kafka-mixin and kafka-observ-lib, as far as they are about these two exporters (` + "`collector/testdata/dashboards.txt`" + `). They miss only what is listed as not shown.
`
