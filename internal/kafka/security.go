package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/IBM/sarama"
)

// Security is how a client shows who it is and how it knows the cluster. The zero value is a plaintext connection without a name.
//
// It holds no secret: a password is named by the file or the variable it is in, is read anew for each connection, and is put nowhere else.
type Security struct {
	TLS  TLS  `yaml:"tls"`
	SASL SASL `yaml:"sasl"`
}

// TLS encrypts the connections (1.2 or newer) and checks the brokers' certificates.
type TLS struct {
	Enabled            bool   `yaml:"enabled"`
	CAFile             string `yaml:"ca_file"`              // PEM; empty: the system's
	CertFile           string `yaml:"cert_file"`            // PEM of the client's certificate, where brokers ask for one
	KeyFile            string `yaml:"key_file"`             // PEM of its key
	ServerName         string `yaml:"server_name"`          // expected in the brokers' certificates; empty: each broker's host
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify"` // takes any certificate: whoever sits in between reads and writes along
}

// SASL is a user name and where its password is, or where tokens come from.
type SASL struct {
	Mechanism    string `yaml:"mechanism"` // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; empty: none
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"` // a newline at its end is not part of the password
	PasswordEnv  string `yaml:"password_env"`  // name of an environment variable, instead of a file
	OAuth        OAuth  `yaml:"oauth"`         // of OAUTHBEARER
}

// Files are the settings that name a file, to be taken from another folder.
func (t *TLS) Files() []*string { return []*string{&t.CAFile, &t.CertFile, &t.KeyFile} }

// Files are the settings that name a file, to be taken from another folder.
func (a *SASL) Files() []*string {
	return []*string{&a.PasswordFile, &a.OAuth.TokenFile, &a.OAuth.ClientSecretFile, &a.OAuth.CAFile}
}

var mechanisms = [...]string{plain, scramSHA256, scramSHA512, oauthBearer}

// Validate reports every problem as `field: problem (got value)`. It opens no file: Client.Config does.
func (s Security) Validate() error {
	var errs []error
	bad := func(field, problem, got string) {
		errs = append(errs, fmt.Errorf("%s: %s (got %q)", field, problem, got))
	}
	s.TLS.problems(bad)
	if s.TLS.InsecureSkipVerify && !s.TLS.Enabled {
		errs = append(errs, errors.New("tls.insecure_skip_verify: needs tls.enabled (got true)"))
	}
	s.SASL.problems(bad)
	return errors.Join(errs...)
}

func (t TLS) problems(bad func(field, problem, got string)) {
	if !t.Enabled {
		for _, f := range []struct{ field, got string }{
			{"tls.ca_file", t.CAFile}, {"tls.cert_file", t.CertFile}, {"tls.key_file", t.KeyFile}, {"tls.server_name", t.ServerName},
		} {
			if f.got != "" {
				bad(f.field, "needs tls.enabled", f.got)
			}
		}
	}
	if t.CertFile != "" && t.KeyFile == "" {
		bad("tls.key_file", "must be set with tls.cert_file", "")
	}
	if t.KeyFile != "" && t.CertFile == "" {
		bad("tls.cert_file", "must be set with tls.key_file", "")
	}
	if t.Enabled && t.InsecureSkipVerify && t.CAFile != "" {
		bad("tls.ca_file", "must be left out with tls.insecure_skip_verify, which looks at no certificate", t.CAFile)
	}
}

func (a SASL) problems(bad func(field, problem, got string)) {
	password := []struct{ field, got string }{
		{"sasl.username", a.Username}, {"sasl.password_file", a.PasswordFile}, {"sasl.password_env", a.PasswordEnv},
	}
	token := []struct{ field, got string }{
		{"sasl.oauth.token_file", a.OAuth.TokenFile}, {"sasl.oauth.token_url", a.OAuth.TokenURL}, {"sasl.oauth.client_id", a.OAuth.ClientID},
		{"sasl.oauth.client_secret_file", a.OAuth.ClientSecretFile}, {"sasl.oauth.client_secret_env", a.OAuth.ClientSecretEnv},
		{"sasl.oauth.scopes", strings.Join(a.OAuth.Scopes, ",")}, {"sasl.oauth.ca_file", a.OAuth.CAFile},
	}
	unused, why := token, "needs sasl.mechanism OAUTHBEARER"
	switch {
	case a.Mechanism == "":
		unused, why = append(password, token...), "needs sasl.mechanism"
	case a.Mechanism == oauthBearer:
		unused, why = password, "must be left out with OAUTHBEARER, which has sasl.oauth instead"
		a.OAuth.problems(bad)
	case !slices.Contains(mechanisms[:], a.Mechanism):
		bad("sasl.mechanism", "must be one of "+strings.Join(mechanisms[:], ", "), a.Mechanism)
		fallthrough // most likely a misspelt one of these
	default:
		if a.Username == "" {
			bad("sasl.username", "must be set", "")
		}
		oneSource(bad, "sasl.password", a.PasswordFile, a.PasswordEnv)
	}
	for _, f := range unused {
		if f.got != "" {
			bad(f.field, why, f.got)
		}
	}
}

// oneSource wants a secret to be in a file or in a variable.
func oneSource(bad func(field, problem, got string), field, file, env string) {
	switch {
	case file == "" && env == "":
		bad(field+"_file", "must be set, or "+field+"_env", "")
	case file != "" && env != "":
		bad(field+"_env", "must not be set with "+field+"_file", env)
	}
}

// config reads what the files hold now. It is called for each connection, so that renewed certificates are taken up.
func (t TLS) config() (*tls.Config, error) {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: t.ServerName,
		// Only when somebody asked for it in so many words.
		InsecureSkipVerify: t.InsecureSkipVerify,
	}
	var errs []error
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("tls.ca_file: %w", err))
		}
		c.RootCAs = x509.NewCertPool()
		if err == nil && !c.RootCAs.AppendCertsFromPEM(pem) {
			errs = append(errs, fmt.Errorf("tls.ca_file: must hold a certificate in PEM (got %q)", t.CAFile))
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("tls.cert_file and tls.key_file: %w", err))
		}
		// Not Certificates: of those Go shows none when the broker names other authorities, and the broker's complaint is then a riddle.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return c, errors.Join(errs...)
}

// password is read for each connection, so that a rotated one is taken up.
func (a SASL) password() (string, error) {
	return secret("sasl.password", a.PasswordFile, a.PasswordEnv)
}

// secret reads a secret from where it is.
func secret(field, file, env string) (string, error) {
	if env != "" {
		s := os.Getenv(env)
		if s == "" {
			return "", fmt.Errorf("%s_env: the variable must hold a secret (got %q, which is empty)", field, env)
		}
		return s, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s_file: %w", field, err)
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if s == "" {
		return "", fmt.Errorf("%s_file: the file must hold a secret (got %q, which is empty)", field, file)
	}
	return s, nil
}

// apply makes sarama's connections secure.
func (s Security) apply(c *sarama.Config) error {
	d := dialer{conf: c, plain: s.SASL.Mechanism == plain}
	var errs []error
	if s.TLS.Enabled {
		_, err := s.TLS.config() // a file that is not there is better found now than by the first connection
		errs = append(errs, err)
		d.tls = s.TLS.config
	}
	if s.SASL.Mechanism != "" {
		errs = append(errs, s.SASL.check())
		s.SASL.apply(c)
	}
	if d.tls != nil || d.plain {
		c.Net.Proxy.Enable, c.Net.Proxy.Dialer = true, d
	}
	return errors.Join(errs...)
}
