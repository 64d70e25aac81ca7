package promql

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	promconfig "github.com/prometheus/common/config"
)

// Access is how a client shows who it is and how it knows the server. The zero value is a connection without a name.
//
// It holds no secret: passwords and tokens are in files, which are read again for each request, certificates for each that finds them renewed.
type Access struct {
	TLS             TLS
	BasicAuth       BasicAuth
	BearerTokenFile string
	Headers         map[string]string // for example X-Scope-OrgID, which Mimir and Thanos name a tenant by
	HeaderFiles     map[string]string // the same for values that are secrets: the file that holds each
}

// TLS of an https address.
type TLS struct {
	CAFile             string `yaml:"ca_file"`              // PEM; empty: the system's
	CertFile           string `yaml:"cert_file"`            // PEM of the client's certificate, where the server asks for one
	KeyFile            string `yaml:"key_file"`             // PEM of its key
	ServerName         string `yaml:"server_name"`          // expected in the server's certificate; empty: the address' host
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify"` // takes any certificate: whoever sits in between reads and writes along
}

// BasicAuth is a user and where the password is.
type BasicAuth struct {
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"` // a newline at its end is not part of the password
}

// Files are the settings that name a file, to be taken from another folder.
func (a *Access) Files() []*string {
	return []*string{&a.TLS.CAFile, &a.TLS.CertFile, &a.TLS.KeyFile, &a.BasicAuth.PasswordFile, &a.BearerTokenFile}
}

// Validate reports every problem as `field: problem (got value)`. It opens no file: New does.
func (a Access) Validate() error {
	var errs []error
	bad := func(field, problem, got string) {
		errs = append(errs, fmt.Errorf("%s: %s (got %q)", field, problem, got))
	}
	if (a.TLS.CertFile == "") != (a.TLS.KeyFile == "") {
		if a.TLS.CertFile == "" {
			bad("tls.cert_file", "must be set with tls.key_file", "")
		} else {
			bad("tls.key_file", "must be set with tls.cert_file", "")
		}
	}
	if a.TLS.InsecureSkipVerify && a.TLS.CAFile != "" {
		bad("tls.ca_file", "must be left out with tls.insecure_skip_verify, which looks at no certificate", a.TLS.CAFile)
	}
	if a.BasicAuth.Username == "" && a.BasicAuth.PasswordFile != "" {
		bad("basic_auth.username", "must be set with basic_auth.password_file", "")
	}
	if a.BasicAuth.Username != "" && a.BasicAuth.PasswordFile == "" {
		bad("basic_auth.password_file", "must be set with basic_auth.username", "")
	}
	if a.BasicAuth.Username != "" && a.BearerTokenFile != "" {
		bad("bearer_token_file", "must be left out with basic_auth: a request has one of them", a.BearerTokenFile)
	}
	seen := map[string]bool{}
	for _, part := range []struct {
		field   string
		headers map[string]string
	}{{"headers", a.Headers}, {"header_files", a.HeaderFiles}} {
		for _, name := range slices.Sorted(maps.Keys(part.headers)) {
			canonical := http.CanonicalHeaderKey(name)
			if _, reserved := promconfig.ReservedHeaders[canonical]; reserved || name == "" || strings.ContainsAny(name, " :\r\n") {
				bad(part.field, "want headers that neither the connection nor basic_auth or bearer_token_file sets", name)
			}
			if seen[canonical] {
				bad(part.field, "want each header once, in headers or in header_files", name)
			}
			seen[canonical] = true
		}
	}
	return errors.Join(errs...)
}

// Transport is the Prometheus programs' own: it reads files again by itself, and is what people know the settings from. The name is the server's,
// for its own metrics.
func (a Access) Transport(name string) (http.RoundTripper, error) {
	c := promconfig.HTTPClientConfig{
		TLSConfig: promconfig.TLSConfig{
			CAFile: a.TLS.CAFile, CertFile: a.TLS.CertFile, KeyFile: a.TLS.KeyFile, ServerName: a.TLS.ServerName, InsecureSkipVerify: a.TLS.InsecureSkipVerify,
		},
		EnableHTTP2: true,
		ProxyConfig: promconfig.ProxyConfig{ProxyFromEnvironment: true},
	}
	if a.BasicAuth.Username != "" {
		c.BasicAuth = &promconfig.BasicAuth{Username: a.BasicAuth.Username, PasswordFile: a.BasicAuth.PasswordFile}
	}
	if a.BearerTokenFile != "" {
		c.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: a.BearerTokenFile}
	}
	if len(a.Headers)+len(a.HeaderFiles) > 0 {
		c.HTTPHeaders = &promconfig.Headers{Headers: map[string]promconfig.Header{}}
		for name, value := range a.Headers {
			c.HTTPHeaders.Headers[name] = promconfig.Header{Values: []string{value}}
		}
		for name, file := range a.HeaderFiles {
			c.HTTPHeaders.Headers[name] = promconfig.Header{Files: []string{file}}
		}
	}
	rt, err := promconfig.NewRoundTripperFromConfig(c, name)
	if err != nil {
		return nil, fmt.Errorf("make %s client: %w", name, err)
	}
	return rt, nil
}
