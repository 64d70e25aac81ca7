package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// Brokers reads what the brokers and their JVMs really run with.
type Brokers struct {
	Bootstrap []string
	JVM       []string // addresses of the JMX agents' metrics, one per broker
	Knobs     []space.Knob
	Timeout   time.Duration // for one request
	Elect     bool          // Healthy may ask for the preferred leaders
	Security  kafka.Security
}

// Effective is the value of every knob as the process has it. Brokers that disagree are an error.
func (b Brokers) Effective(ctx context.Context) (space.Point, error) {
	settings, err := b.settings(ctx)
	if err != nil {
		return nil, err
	}
	p := space.Point{}
	for _, k := range b.Knobs {
		var v int64
		if name, broker := k.Source.BrokerSetting(); broker {
			v, err = strconv.ParseInt(settings[name], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("read back %s: broker setting %s: want an integer (got %q)", k.Name, name, settings[name])
			}
			v /= k.Scale
		} else if v, err = b.heap(ctx, k); err != nil {
			return nil, fmt.Errorf("read back %s: %w", k.Name, err)
		}
		p[k.Name] = v
	}
	return p, nil
}

// settings is the value of every setting that is a knob.
func (b Brokers) settings(ctx context.Context) (map[string]string, error) {
	var names []string
	for _, k := range b.Knobs {
		if name, broker := k.Source.BrokerSetting(); broker {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	all, err := b.Settings(ctx, names...)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, name := range names {
		if out[name], err = all.Common(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// with opens an admin connection for one piece of work: a kept one would outlive the pod that it leads to.
func (b Brokers) with(ctx context.Context, work func(sarama.ClusterAdmin) error) error {
	return b.withClient(ctx, func(client sarama.Client) error {
		admin, err := sarama.NewClusterAdminFromClient(client)
		if err != nil {
			return fmt.Errorf("administer kafka: %w", err)
		}
		return work(admin)
	})
}

func (b Brokers) withClient(ctx context.Context, work func(sarama.Client) error) error {
	conf, err := kafka.Client{Brokers: b.Bootstrap, ID: Manager, Timeout: b.Timeout, Security: b.Security}.Config()
	if err != nil {
		return err
	}
	conf.Metadata.Retry.Max = 1 // the caller retries, with its own deadline
	conf.Admin.Retry.Max = 1
	result := make(chan error, 1)
	go func() { // sarama knows no context; its own timeouts end this soon after
		client, err := sarama.NewClient(b.Bootstrap, conf)
		if err != nil {
			result <- fmt.Errorf("connect to kafka at %s: %w", strings.Join(b.Bootstrap, ","), err)
			return
		}
		result <- errors.Join(work(client), client.Close())
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-result:
		return err
	}
}

// heap asks every JVM. The initial size is what -Xms gave, exactly. The maximum is what -Xmx gave, less one survivor space under some collectors:
// so much difference is accepted, and anything beyond means that -Xms and -Xmx differ.
func (b Brokers) heap(ctx context.Context, k space.Knob) (int64, error) {
	if len(b.JVM) == 0 {
		return 0, errors.New("no JVM metrics address is configured")
	}
	value := int64(-1)
	for _, address := range b.JVM {
		families, err := b.scrape(ctx, address)
		if err != nil {
			return 0, err
		}
		initial, err := heapGauge(families, "jvm_memory_init_bytes")
		if err != nil {
			return 0, fmt.Errorf("%s: %w", address, err)
		}
		highest, err := heapGauge(families, "jvm_memory_max_bytes")
		if err != nil {
			return 0, fmt.Errorf("%s: %w", address, err)
		}
		if highest < 0.85*initial || highest > 1.05*initial {
			return 0, fmt.Errorf("%s: initial heap is %.0f bytes and maximum %.0f; want them equal", address, initial, highest)
		}
		v := int64(math.Round(initial / float64(k.Scale)))
		if value >= 0 && v != value {
			return 0, fmt.Errorf("JVMs disagree: %d and, at %s, %d", value, address, v)
		}
		value = v
	}
	return value, nil
}

const maxScrape = 16 << 20 // the agent's answer has some hundred kilobytes

func (b Brokers) scrape(ctx context.Context, address string) (map[string]*dto.MetricFamily, error) {
	timeout := b.Timeout
	if timeout <= 0 {
		timeout = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("scrape JVM: %w", err)
	}
	req.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	// A connection of its own each time: a kept one could still lead to the pod before.
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("scrape JVM: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scrape JVM at %s: want status 200 (got %s)", address, resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(resp.Body, maxScrape))
	if err != nil {
		return nil, fmt.Errorf("parse JVM metrics of %s: %w", address, err)
	}
	return families, nil
}

func heapGauge(families map[string]*dto.MetricFamily, name string) (float64, error) {
	for _, m := range families[name].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "area" && l.GetValue() == "heap" {
				if v := m.GetGauge().GetValue() + m.GetUntyped().GetValue(); v > 0 {
					return v, nil
				}
			}
		}
	}
	return 0, fmt.Errorf(`%s{area="heap"} is absent or not positive`, name)
}
