package collector

import (
	"fmt"
	"iter"
	"slices"
)

// Naming is a set of names for what is read of a cluster. What the exporter says of itself has the same names in each.
type Naming string

const (
	Native        Naming = "native"         // the exporter's own; METRICS.md lists them
	KafkaExporter Naming = "kafka_exporter" // those of kafka_exporter v1.9 and v1.10
	KMinion       Naming = "kminion"        // those of kminion v2.3.5, with the prefix that it has by default
)

// Namings lists them.
func Namings() []Naming { return []Naming{Native, KafkaExporter, KMinion} }

// namings says which are shown. Several can be: while dashboards are moved from one to the other, for twice the series.
type namings struct{ native, kafkaExporter, kminion bool }

func newNamings(names []Naming) (namings, error) {
	var n namings
	for _, name := range names {
		switch name {
		case Native:
			n.native = true
		case KafkaExporter:
			n.kafkaExporter = true
		case KMinion:
			n.kminion = true
		default:
			return n, fmt.Errorf("collector: names: want %s, %s or %s (got %q)", Native, KafkaExporter, KMinion, name)
		}
	}
	n.native = n.native || len(names) == 0
	return n, nil
}

// families lists what a page shows. Kafka_exporter and we have some names in common: with the same labels and the same meaning there is one
// family, and the one with other labels gets both.
func (n namings) families(topicConfigs []string) []Family {
	var all []Family
	if n.native {
		all = slices.Concat(clusterFamilies(), topicFamilies(), groupFamilies())
	}
	if n.kafkaExporter {
		all = append(all, kafkaExporterFamilies()...)
		if n.native {
			all = slices.DeleteFunc(all, func(f Family) bool { return f.Name == famBrokerInfo.Name })
			all = append(all, famBrokerInfoBoth)
		} else {
			all = append(all, commonFamilies()...)
		}
	}
	if n.kminion {
		all = append(all, kminionFamilies(topicConfigs)...)
	}
	return append(all, selfFamilies()...)
}

// show sends what is known of the cluster under each of the names.
func (s sink) show(snap *snapshot, n namings, topicConfigs []string) {
	if n.native {
		s.cluster(snap)
		s.topics(snap)
		s.groups(snap)
	}
	if n.kafkaExporter {
		s.kafkaExporter(snap)
	}
	switch {
	case n.native && n.kafkaExporter:
		s.brokerInfoBoth(snap)
	case n.native:
		s.brokerInfo(snap)
	case n.kafkaExporter:
		s.common(snap)
	}
	if n.kminion {
		s.kminion(snap, topicConfigs)
	}
}

// byTopic splits commits, which are sorted, into those of each topic.
func byTopic(commits []commit) iter.Seq2[string, []commit] {
	return func(yield func(string, []commit) bool) {
		for rest := commits; len(rest) > 0; {
			n := slices.IndexFunc(rest, func(c commit) bool { return c.topic != rest[0].topic })
			if n < 0 {
				n = len(rest)
			}
			if !yield(rest[0].topic, rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// sum is known only if each part is.
func sum[T any](parts []T, of func(*T) optional) optional {
	total := some(0)
	for i := range parts {
		part := of(&parts[i])
		if !part.known {
			return optional{}
		}
		total.value += part.value
	}
	return total
}
