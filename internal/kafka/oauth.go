package kafka

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"
)

const oauthBearer = sarama.SASLTypeOAuth

// OAuth is where the tokens of OAUTHBEARER come from: a file that somebody else keeps fresh, or an endpoint that gives one for the client's id
// and secret (the client credentials grant of RFC 6749).
type OAuth struct {
	TokenFile string `yaml:"token_file"` // holds a token; read for each connection

	TokenURL         string   `yaml:"token_url"` // instead of a file
	ClientID         string   `yaml:"client_id"`
	ClientSecretFile string   `yaml:"client_secret_file"`
	ClientSecretEnv  string   `yaml:"client_secret_env"` // name of an environment variable, instead of a file
	Scopes           []string `yaml:"scopes"`
	CAFile           string   `yaml:"ca_file"` // PEM of the endpoint's authority; empty: the system's
}

// problems complains of what does not fit together; bad takes field, problem and value.
func (o OAuth) problems(bad func(field, problem, got string)) {
	if (o.TokenFile == "") == (o.TokenURL == "") {
		bad("sasl.oauth.token_url", "must be set, or else sasl.oauth.token_file, and not both", redacted(o.TokenURL))
	}
	if o.TokenURL == "" {
		for _, f := range []struct{ field, got string }{
			{"sasl.oauth.client_id", o.ClientID}, {"sasl.oauth.client_secret_file", o.ClientSecretFile}, {"sasl.oauth.client_secret_env", o.ClientSecretEnv},
			{"sasl.oauth.scopes", strings.Join(o.Scopes, ",")}, {"sasl.oauth.ca_file", o.CAFile},
		} {
			if f.got != "" {
				bad(f.field, "needs sasl.oauth.token_url", f.got)
			}
		}
		return
	}
	if u, err := url.Parse(o.TokenURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		bad("sasl.oauth.token_url", "must be http://host/… or https://host/…, without a name and a password in it", redacted(o.TokenURL))
	}
	if o.ClientID == "" {
		bad("sasl.oauth.client_id", "must be set", "")
	}
	oneSource(bad, "sasl.oauth.client_secret", o.ClientSecretFile, o.ClientSecretEnv)
}

// redacted leaves out what stands before the host.
func redacted(address string) string {
	before, after, found := strings.Cut(address, "@")
	if !found {
		return before
	}
	return "…@" + after
}

// tokens gives sarama a token for each connection. One that has been fetched serves for four fifths of its life, as with Kafka's own clients.
type tokens struct {
	oauth   OAuth
	timeout time.Duration // of a fetch: sarama cannot be told to stop waiting for it

	fetching singleflight.Group // all brokers' connections wait for one answer, or one timeout

	mu     sync.Mutex
	last   func() string // not the token itself: whatever prints this cannot print that
	renew  time.Time
	expiry time.Time
}

// Token implements sarama's provider.
func (t *tokens) Token() (*sarama.AccessToken, error) {
	if t.oauth.TokenFile != "" {
		text, err := t.oauth.fileToken()
		return &sarama.AccessToken{Token: text}, err
	}
	t.mu.Lock()
	last, renew, expiry := t.last, t.renew, t.expiry
	t.mu.Unlock()
	if last != nil && time.Now().Before(renew) {
		return &sarama.AccessToken{Token: last()}, nil
	}
	got, err, _ := t.fetching.Do("", func() (any, error) { return t.fetch() })
	if err != nil {
		if last != nil && time.Now().Before(expiry) {
			return &sarama.AccessToken{Token: last()}, nil // the endpoint has until then to come back
		}
		return nil, fmt.Errorf("fetch token from %s: %w", t.oauth.TokenURL, err)
	}
	return &sarama.AccessToken{Token: got.(string)}, nil
}

func (t *tokens) fetch() (string, error) {
	secret, err := secret("sasl.oauth.client_secret", t.oauth.ClientSecretFile, t.oauth.ClientSecretEnv)
	if err != nil {
		return "", err
	}
	settings, err := TLS{CAFile: t.oauth.CAFile}.config()
	if err != nil {
		return "", err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: settings, DisableKeepAlives: true} // seldom used
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: transport, Timeout: t.timeout})
	grant := clientcredentials.Config{ClientID: t.oauth.ClientID, ClientSecret: secret, TokenURL: t.oauth.TokenURL, Scopes: t.oauth.Scopes}
	began := time.Now()
	token, err := grant.Token(ctx)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.renew, t.expiry = func() string { return token.AccessToken }, began, token.Expiry
	if !token.Expiry.IsZero() {
		t.renew = began.Add(token.Expiry.Sub(began) * 4 / 5)
	}
	return token.AccessToken, nil
}

func (o OAuth) fileToken() (string, error) {
	text, err := os.ReadFile(o.TokenFile)
	if err != nil {
		return "", fmt.Errorf("sasl.oauth.token_file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\r\n\x01") {
		return "", fmt.Errorf("sasl.oauth.token_file: the file must hold one token (got %q, which does not)", o.TokenFile)
	}
	return token, nil
}

// check finds files and variables that cannot be used; the endpoint is not asked.
func (o OAuth) check() error {
	if o.TokenFile != "" {
		_, err := o.fileToken()
		return err
	}
	_, missing := secret("sasl.oauth.client_secret", o.ClientSecretFile, o.ClientSecretEnv)
	_, err := TLS{CAFile: o.CAFile}.config()
	if err != nil {
		err = errors.New(strings.Replace(err.Error(), "tls.ca_file", "sasl.oauth.ca_file", 1))
	}
	return errors.Join(missing, err)
}
