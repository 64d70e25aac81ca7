package source

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func datasource() *dashboard.DatasourceVariableBuilder {
	return dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Description("The Prometheus that scrapes kafkalab.").Type("prometheus")
}

// menu is a variable filled from a label; "All" stands for any value and for none, so that a lone cluster without a name is found too.
func menu(name, title, about, metric, label string) *dashboard.QueryVariableBuilder {
	query := fmt.Sprintf("label_values(%s, %s)", metric, label)
	all := dashboard.VariableOption{
		Text:  dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
		Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
	}
	return dashboard.NewQueryVariableBuilder(name).Label(title).Description(about).Datasource(source()).Definition(query).
		Query(dashboard.StringOrMap{Map: map[string]any{"query": query, "refId": name}}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortNaturalAsc).
		Multi(true).IncludeAll(true).AllValue(".*").Current(all)
}

// The chain: each menu offers what there is under the choice before it.

func cluster() *dashboard.QueryVariableBuilder {
	return menu("cluster", "Cluster", "The cluster's name at the exporter; a lone one needs none.", "kafka_brokers", "kafka_cluster")
}

func broker() *dashboard.QueryVariableBuilder {
	return menu("broker", "Broker", "The broker's id.", `kafka_broker_info{kafka_cluster=~"$cluster"}`, "broker")
}

func topic() *dashboard.QueryVariableBuilder {
	return menu("topic", "Topic", "Topics of the cluster.", `kafka_topic_partitions{kafka_cluster=~"$cluster"}`, "topic")
}

func group() *dashboard.QueryVariableBuilder {
	return menu("group", "Group", "Groups that have committed offsets in the topic.", `kafka_consumer_group_topic_lag{kafka_cluster=~"$cluster", topic=~"$topic"}`, "group")
}

// pod is a broker as Kubernetes and its own metrics know it.
func pod() *dashboard.QueryVariableBuilder {
	return menu("pod", "Broker", "The broker's pod.", `kafka_server_partitions{kafka_cluster=~"$cluster"}`, "pod")
}

func workload() *dashboard.QueryVariableBuilder {
	return menu("workload", "Workload", "The load that is run.", "loadgen_target_rate", "workload")
}

// address is where the reader's browser finds something; whoever imports a dashboard may change it in the dashboard's settings.
func address(name, what, url string) *dashboard.ConstantVariableBuilder {
	return dashboard.NewConstantVariableBuilder(name).Label(name).Description("Where the browser finds " + what + ".").Value(dashboard.StringOrMap{String: ptr(url)})
}
