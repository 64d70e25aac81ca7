package collector

import (
	"strconv"
)

var (
	famClusterInfo  = Family{"kafka_cluster_info", "gauge", []string{"cluster_id"}, "Always 1; the label holds the cluster's id."}
	famFeature      = Family{"kafka_cluster_feature_level", "gauge", []string{"feature"}, "Level of a feature that is in force in the whole cluster, such as metadata.version; kafka-features.sh shows the same. Absent where the brokers tell none (ZooKeeper)."}
	famBrokers      = Family{"kafka_brokers", "gauge", nil, "Brokers that the cluster's metadata lists as registered and live."}
	famBrokerInfo   = Family{"kafka_broker_info", "gauge", []string{"broker", "address", "rack"}, "Always 1; the labels hold the broker's advertised address and its rack, empty when it has none."}
	famIsController = Family{"kafka_broker_is_controller", "gauge", []string{"broker"}, "1 for the broker that is the controller, 0 for the others. Absent under KRaft, where brokers name any live broker as controller."}
	famDirSize      = Family{"kafka_log_dir_size_bytes", "gauge", []string{"broker", "dir"}, "Bytes of partitions that the broker keeps in the directory."}
	famDirTotal     = Family{"kafka_log_dir_total_bytes", "gauge", []string{"broker", "dir"}, "Size of the volume that the directory is on. Absent where the broker does not tell (before Kafka 3.3)."}
	famDirUsable    = Family{"kafka_log_dir_usable_bytes", "gauge", []string{"broker", "dir"}, "What the broker can still use of that volume."}
	famDirOffline   = Family{"kafka_log_dir_offline", "gauge", []string{"broker", "dir"}, "1 if the broker has taken the directory out of service after an error of the disk, 0 if not."}
	famLeaders      = Family{"kafka_broker_leaders", "gauge", []string{"broker"}, "Partitions that the broker leads, whatever the topic filter leaves out. Absent until the broker has told which partitions it holds, and while the exporter may not describe all of these."}
)

func clusterFamilies() []Family {
	return []Family{famClusterInfo, famFeature, famBrokers, famBrokerInfo, famIsController, famLeaders, famDirSize, famDirTotal, famDirUsable, famDirOffline}
}

func (s sink) brokerInfo(snap *snapshot) {
	for _, b := range snap.brokers {
		s.gauge(famBrokerInfo, 1, strconv.Itoa(int(b.id)), b.addr, b.rack)
	}
}

func (s sink) cluster(snap *snapshot) {
	if snap.clusterID != "" {
		s.gauge(famClusterInfo, 1, snap.clusterID)
	}
	for _, f := range snap.features {
		s.gauge(famFeature, float64(f.level), f.name)
	}
	s.gauge(famBrokers, float64(len(snap.brokers)))
	for _, b := range snap.brokers {
		id := strconv.Itoa(int(b.id))
		if b.counted {
			s.gauge(famLeaders, float64(b.leaders), id)
		}
		if snap.controller.known {
			s.gauge(famIsController, truth(snap.controller.value == int64(b.id)), id)
		}
	}
	for _, d := range snap.dirs {
		labels := []string{strconv.Itoa(int(d.broker)), d.path}
		s.gauge(famDirOffline, truth(d.failed), labels...)
		if d.failed {
			continue
		}
		s.gauge(famDirSize, float64(d.used), labels...)
		s.known(famDirTotal, d.total, labels...)
		s.known(famDirUsable, d.usable, labels...)
	}
}
