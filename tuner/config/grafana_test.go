package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/config"
)

func TestBadGrafana(t *testing.T) {
	for name, c := range map[string]struct{ section, want string }{
		"a token for nobody":       {"{token_file: t}", `url: want http://host:port/… or https://… (got "")`},
		"a certificate for nobody": {"{tls: {ca_file: c}}", `url: want http://host:port/… or https://… (got "")`},
		"an address alone":         {"{url: http://g:3000}", `token_file: want a file with the token of a service account (got "")`},
		"the token itself":         {"{url: http://g:3000, token: glsa_x}", `token: must not be in the file`},
		"not an address":           {"{url: g:3000, token_file: t}", `url: want http://host:port/… or https://… (got "g:3000")`},
		"a password in it":         {"{url: http://admin:hunter2@g, token_file: t}", `url: want an address without user, password, query or fragment (got "http://admin:xxxxx@g")`},
		"an organisation in it":    {"{url: 'http://g/?orgId=2', token_file: t}", `url: want an address without user`},
		"half a certificate":       {"{url: https://g, token_file: t, tls: {key_file: k}}", `tls.cert_file: must be set with tls.key_file (got "")`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", []byte(whole+"\ngrafana: "+c.section+"\n"))
			if err == nil || !strings.Contains(err.Error(), "grafana."+c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("want %q (got %v)", c.want, err)
			}
		})
	}
}

func TestFilesOfGrafana(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tuner.yaml")
	if err := os.WriteFile(path, []byte(whole+"\ngrafana: {url: https://g/sub, token_file: token, tls: {ca_file: /etc/ca.pem}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if a := f.Grafana.Access(); f.Grafana.URL != "https://g/sub" || a.BearerTokenFile != filepath.Join(dir, "token") || a.TLS.CAFile != "/etc/ca.pem" {
		t.Errorf("want the address and the files of %s (got %+v)", dir, f.Grafana)
	}
}
