// Package kafka makes sarama configurations that are right for a measuring program and says where they differ from sarama's defaults.
//
// It promises settings that negotiate upward to what the broker speaks, time out within what an operator will wait for, and keep no
// statistics of their own. It leaves out producing and consuming: those settings belong to who measures.
package kafka

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
)

// Client names a cluster and who is asking.
type Client struct {
	Brokers []string      // host:port, at least one
	ID      string        // client.id as the broker's request log and quotas see it
	Timeout time.Duration // dial, read and write; default 5 s

	Security Security
}

// Validate reports every problem with its field and value.
func (c Client) Validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("brokers: must be at least one host:port (got none)"))
	}
	for i, b := range c.Brokers {
		host, port, err := net.SplitHostPort(b)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || strings.Contains(host, "/") || bad != nil || n == 0 {
			errs = append(errs, fmt.Errorf("brokers[%d]: must be host:port, the port within 1..65535 (got %q)", i, b))
		}
	}
	return errors.Join(append(errs, c.Security.Validate())...)
}

// quiet turns off sarama's own statistics, which take a mutex on every request and leak per-broker series; ours are Prometheus metrics.
// Once, because the switch is the library's global variable and clients that run already read it.
var quiet = sync.OnceFunc(func() { metrics.UseNilMetrics = true })

// Config is sarama's configuration for this client. The caller may change it before use. The error names each file of Security that cannot
// be read.
func (c Client) Config() (*sarama.Config, error) {
	if err := c.Security.Validate(); err != nil {
		return nil, err
	}
	quiet()
	conf := sarama.NewConfig()
	conf.ClientID = c.ID
	// A ceiling, not a demand: each API negotiates down to what the broker has. The default of 2.8 would hide newer versions.
	conf.Version = sarama.MaxVersion
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 5 * time.Second // sarama's 30 s outlasts a scrape and an operator's patience
	}
	conf.Net.DialTimeout, conf.Net.ReadTimeout, conf.Net.WriteTimeout = timeout, timeout, timeout
	conf.Metadata.Timeout = 2 * timeout
	conf.Metadata.AllowAutoTopicCreation = false // looking must not change the cluster
	if err := c.Security.apply(conf); err != nil {
		return nil, err
	}
	return conf, nil
}
