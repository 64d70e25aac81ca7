package config

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/exporter/probe"
)

// Prober is the cluster as the probe wants it. It reads the files that the cluster names. Kafka is not asked.
func (c Cluster) Prober(log *slog.Logger) (probe.Config, error) {
	client := c.client()
	client.ID = probeID
	settings, err := client.Config()
	p := c.probe()
	p.Kafka, p.Brokers, p.Logger = settings, c.Kafka.Brokers, log
	return p, err
}

// probeID tells the probe's requests from the exporter's in the brokers' request log and quotas.
const probeID = clientID + "-probe"

func (c Cluster) probe() probe.Config {
	return probe.Config{Topic: c.Probe.Topic, Interval: c.Probe.Interval, Deadline: c.Probe.Deadline, Manage: c.Probe.Manage}
}

// badProbe are the problems of the probe's settings. Kafka's timeout matters only to one that is switched on.
func (c Cluster) badProbe() problems {
	var p problems
	if c.Probe.Manage && !c.Probe.Enabled {
		p = append(p, errors.New("probe.manage: needs probe.enabled (got true)"))
	}
	var timeout time.Duration
	if c.Probe.Enabled {
		timeout = c.Kafka.Timeout
	}
	if err := c.probe().Check(timeout); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			p = append(p, fmt.Errorf("probe.%s", line))
		}
	}
	return p
}
