package config

import (
	"net/url"

	promconfig "github.com/prometheus/common/config"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/internal/strict"
)

// Grafana is where each change becomes an annotation; without an address none is written.
type Grafana struct {
	URL       string     `yaml:"url"`
	TokenFile string     `yaml:"token_file"` // of a service account that may read, write and delete annotations; read again at each request
	TLS       promql.TLS `yaml:"tls"`
}

// Access is how it is reached.
func (g Grafana) Access() promql.Access {
	return promql.Access{TLS: g.TLS, BearerTokenFile: g.TokenFile}
}

// from takes the files that are named without their folder from the configuration's.
func (g *Grafana) from(dir string) {
	a := g.Access()
	for _, f := range a.Files() {
		*f = promconfig.JoinDir(dir, *f)
	}
	g.TLS, g.TokenFile = a.TLS, a.BearerTokenFile
}

func (g Grafana) validate(s *strict.Reader) {
	if g == (Grafana{}) {
		return
	}
	if g.TokenFile == "" {
		s.Addf("grafana.token_file", `want a file with the token of a service account (got "")`)
	}
	if u, err := url.Parse(g.URL); err == nil && (u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		s.Addf("grafana.url", "want an address without user, password, query or fragment (got %q)", u.Redacted())
	} else {
		link(s, "grafana.url", g.URL)
	}
	s.AddAll("grafana", g.Access().Validate())
}
