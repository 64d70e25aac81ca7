package config

import (
	"fmt"
	"slices"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/internal/strict"
)

// Prometheus is where everything is measured: any server with its API, for example Thanos or Mimir.
type Prometheus struct {
	URL             string            `yaml:"url"`
	Timeout         time.Duration     `yaml:"timeout"`
	ScrapeInterval  time.Duration     `yaml:"scrape_interval"` // the longest of what is measured, also of recording rules
	TLS             promql.TLS        `yaml:"tls"`
	BasicAuth       promql.BasicAuth  `yaml:"basic_auth"`
	BearerTokenFile string            `yaml:"bearer_token_file"`
	Headers         map[string]string `yaml:"headers"`
	HeaderFiles     map[string]string `yaml:"header_files"` // headers whose value is in a file
	Metrics         []Metric          `yaml:"metrics"`
}

// Access is how the server is reached.
func (p Prometheus) Access() promql.Access {
	return promql.Access{TLS: p.TLS, BasicAuth: p.BasicAuth, BearerTokenFile: p.BearerTokenFile, Headers: p.Headers, HeaderFiles: p.HeaderFiles}
}

// from takes the files that are named without their folder from the configuration's.
func (p *Prometheus) from(dir string) {
	a := p.Access()
	for _, f := range a.Files() {
		*f = promconfig.JoinDir(dir, *f)
	}
	p.TLS, p.BasicAuth, p.BearerTokenFile = a.TLS, a.BasicAuth, a.BearerTokenFile
	for name, f := range p.HeaderFiles {
		p.HeaderFiles[name] = promconfig.JoinDir(dir, f)
	}
}

// Metric says of one figure what can be believed of it and what it means when there is none. Name is goodput, p99 or a guard's.
type Metric struct {
	Name    string   `yaml:"name"`
	Min     *float64 `yaml:"min"` // what is outside cannot be: the measurement is worthless, whatever a guard makes of the value
	Max     *float64 `yaml:"max"`
	Missing string   `yaml:"missing"`
}

// The meanings of a figure for which there are no series. Of everything else that is wrong with an answer nothing can be concluded.
const (
	MissingInconclusive = "inconclusive" // the window is worthless (what holds when nothing is said)
	MissingZero         = "zero"         // the value is 0: many counters of errors begin with the first error
	MissingIgnore       = "ignore"       // the guard does not apply
)

// The names of the figures that are no guards.
const (
	Goodput = "goodput"
	P99     = "p99"
)

// Metric is what the file says of a figure; what it does not say is the default.
func (p Prometheus) Metric(name string) Metric {
	m := Metric{Name: name}
	if i := slices.IndexFunc(p.Metrics, func(m Metric) bool { return m.Name == name }); i >= 0 {
		m = p.Metrics[i]
	}
	if m.Missing == "" {
		m.Missing = MissingInconclusive
	}
	return m
}

// Check says why a value cannot be believed.
func (m Metric) Check(v float64) error {
	switch {
	case m.Min != nil && v < *m.Min:
		return fmt.Errorf("want at least %g, since less cannot be (got %g)", *m.Min, v)
	case m.Max != nil && v > *m.Max:
		return fmt.Errorf("want at most %g, since more cannot be (got %g)", *m.Max, v)
	}
	return nil
}

func (p Prometheus) validate(s *strict.Reader, guards []Guard) {
	link(s, "prometheus.url", p.URL)
	between(s, "prometheus.timeout", p.Timeout, 100*time.Millisecond, time.Minute)
	between(s, "prometheus.scrape_interval", p.ScrapeInterval, 100*time.Millisecond, 5*time.Minute)
	s.AddAll("prometheus", p.Access().Validate())
	names := []string{Goodput, P99}
	for _, g := range guards {
		names = append(names, g.Name)
	}
	seen := map[string]bool{}
	for i, m := range p.Metrics {
		path := fmt.Sprintf("prometheus.metrics[%d]", i)
		switch {
		case !slices.Contains(names, m.Name):
			s.Addf(path+".name", "want %s, %s or the name of a guard (got %q)", Goodput, P99, m.Name)
		case seen[m.Name]:
			s.Addf(path+".name", "is there twice (got %q)", m.Name)
		}
		seen[m.Name] = true
		if m.Min != nil && m.Max != nil && *m.Min > *m.Max {
			s.Addf(path+".min", "want at most max, which is %g (got %g)", *m.Max, *m.Min)
		}
		switch objective := m.Name == Goodput || m.Name == P99; {
		case m.Missing == "" || m.Missing == MissingInconclusive:
		case m.Missing != MissingZero && m.Missing != MissingIgnore:
			s.Addf(path+".missing", "want %s, %s or %s (got %q)", MissingInconclusive, MissingZero, MissingIgnore, m.Missing)
		case objective:
			s.Addf(path+".missing", "want %s, since without %s nothing was measured (got %q)", MissingInconclusive, m.Name, m.Missing)
		}
	}
}
