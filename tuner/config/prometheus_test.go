package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/config"
)

// TestBadPrometheus: one mistake each in how the server is reached, or in what may be believed of it.
func TestBadPrometheus(t *testing.T) {
	for name, c := range map[string]struct{ add, want string }{
		"a password without a user":     {"basic_auth: {password_file: p}", `basic_auth.username: must be set with basic_auth.password_file (got "")`},
		"a password and a token":        {"bearer_token_file: t\n  basic_auth: {username: u, password_file: p}", `bearer_token_file: must be left out with basic_auth`},
		"half a certificate":            {"tls: {cert_file: c}", `tls.key_file: must be set with tls.cert_file (got "")`},
		"a header that is not free":     {"headers: {Host: other}", `headers: want headers that neither the connection nor basic_auth or bearer_token_file sets (got "Host")`},
		"a metric that nobody measures": {"metrics: [{name: speed}]", `metrics[0].name: want goodput, p99 or the name of a guard (got "speed")`},
		"a metric twice":                {"metrics: [{name: p99}, {name: p99}]", `metrics[1].name: is there twice (got "p99")`},
		"sanity the wrong way":          {"metrics: [{name: p99, min: 2, max: 1}]", `metrics[0].min: want at most max, which is 1 (got 2)`},
		"a policy that is not there":    {"metrics: [{name: lost, missing: guess}]", `metrics[0].missing: want inconclusive, zero or ignore (got "guess")`},
		"goodput that need not be":      {"metrics: [{name: goodput, missing: zero}]", `metrics[0].missing: want inconclusive, since without goodput nothing was measured (got "zero")`},
		"an unknown field":              {"tls: {ca: x}", "tls.ca: unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", []byte(strings.Replace(whole, "prometheus:\n", "prometheus:\n  "+c.add+"\n", 1)))
			if err == nil || !strings.Contains(err.Error(), "prometheus."+c.want) {
				t.Errorf("want %q (got %v)", c.want, err)
			}
		})
	}
}

// TestFilesOfPrometheus: a name without a folder is one in the folder of the configuration.
func TestFilesOfPrometheus(t *testing.T) {
	dir := t.TempDir()
	text := strings.Replace(whole, "prometheus:\n", "prometheus:\n  tls: {ca_file: ca.pem}\n  bearer_token_file: /run/token\n  header_files: {X-Key: key}\n  metrics: [{name: lost, max: 9, missing: zero}]\n", 1)
	path := filepath.Join(dir, "tuner.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	a := f.Prometheus.Access()
	if a.TLS.CAFile != filepath.Join(dir, "ca.pem") || a.BearerTokenFile != "/run/token" || a.HeaderFiles["X-Key"] != filepath.Join(dir, "key") || a.TLS.CertFile != "" {
		t.Errorf("want the files of %s (got %+v)", dir, a)
	}
	if m := f.Prometheus.Metric("lost"); *m.Max != 9 || m.Missing != config.MissingZero {
		t.Errorf("want what the file says of the metric (got %+v)", m)
	}
	if m := f.Prometheus.Metric("p99"); m.Min != nil || m.Missing != config.MissingInconclusive {
		t.Errorf("want the default (got %+v)", m)
	}
}
