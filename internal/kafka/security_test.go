package kafka_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/internal/kafkatest"
)

func TestSecurityNamesEveryProblem(t *testing.T) {
	type tls = kafka.TLS
	type sasl = kafka.SASL
	type oauth = kafka.OAuth
	for name, c := range map[string]struct {
		tls  tls
		sasl sasl
		want []string
	}{
		"an authority without TLS":               {tls{CAFile: "ca"}, sasl{}, []string{`tls.ca_file: needs tls.enabled (got "ca")`}},
		"a certificate without TLS":              {tls{CertFile: "c", KeyFile: "k"}, sasl{}, []string{`tls.cert_file: needs`, `tls.key_file: needs`}},
		"a name without TLS":                     {tls{ServerName: "n"}, sasl{}, []string{`tls.server_name: needs tls.enabled (got "n")`}},
		"no verification without TLS":            {tls{InsecureSkipVerify: true}, sasl{}, []string{"tls.insecure_skip_verify: needs tls.enabled (got true)"}},
		"a certificate without its key":          {tls{Enabled: true, CertFile: "c"}, sasl{}, []string{"tls.key_file: must be set with tls.cert_file"}},
		"a key without its certificate":          {tls{Enabled: true, KeyFile: "k"}, sasl{}, []string{"tls.cert_file: must be set with tls.key_file"}},
		"an authority that nobody asks":          {tls{Enabled: true, CAFile: "ca", InsecureSkipVerify: true}, sasl{}, []string{"tls.ca_file: must be left out with tls.insecure_skip_verify"}},
		"a user without a mechanism":             {tls{}, sasl{Username: "u"}, []string{`sasl.username: needs sasl.mechanism (got "u")`}},
		"a password's file without a mechanism":  {tls{}, sasl{PasswordFile: "f"}, []string{"sasl.password_file: needs"}},
		"a password's name without a mechanism":  {tls{}, sasl{PasswordEnv: "E"}, []string{"sasl.password_env: needs"}},
		"a mechanism that there is not":          {tls{}, sasl{Mechanism: "GSSAPI", Username: "u", PasswordEnv: "E"}, []string{`sasl.mechanism: must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER (got "GSSAPI")`}},
		"a mechanism without anything":           {tls{}, sasl{Mechanism: "PLAIN"}, []string{"sasl.username: must be set", "sasl.password_file: must be set, or sasl.password_env"}},
		"a password in two places":               {tls{}, sasl{Mechanism: "PLAIN", Username: "u", PasswordFile: "f", PasswordEnv: "E"}, []string{"sasl.password_env: must not be set with sasl.password_file"}},
		"a token without its mechanism":          {tls{}, sasl{Mechanism: "PLAIN", Username: "u", PasswordFile: "f", OAuth: oauth{TokenFile: "t"}}, []string{`sasl.oauth.token_file: needs sasl.mechanism OAUTHBEARER (got "t")`}},
		"a password with a token":                {tls{}, sasl{Mechanism: "OAUTHBEARER", Username: "u", PasswordFile: "f", OAuth: oauth{TokenFile: "t"}}, []string{"sasl.username: must be left out", "sasl.password_file: must be left out"}},
		"no source of tokens":                    {tls{}, sasl{Mechanism: "OAUTHBEARER"}, []string{"sasl.oauth.token_url: must be set, or else sasl.oauth.token_file"}},
		"two sources of tokens":                  {tls{}, sasl{Mechanism: "OAUTHBEARER", OAuth: oauth{TokenFile: "t", TokenURL: "https://a/", ClientID: "c", ClientSecretEnv: "E"}}, []string{"sasl.oauth.token_url: must be set, or else sasl.oauth.token_file, and not both"}},
		"an endpoint without a client":           {tls{}, sasl{Mechanism: "OAUTHBEARER", OAuth: oauth{TokenURL: "https://a/"}}, []string{"sasl.oauth.client_id: must be set", "sasl.oauth.client_secret_file: must be set, or sasl.oauth.client_secret_env"}},
		"an endpoint that is none":               {tls{}, sasl{Mechanism: "OAUTHBEARER", OAuth: oauth{TokenURL: "a:b", ClientID: "c", ClientSecretEnv: "E"}}, []string{"sasl.oauth.token_url: must be http://host/… or https://host/…"}},
		"a client of no endpoint":                {tls{}, sasl{Mechanism: "OAUTHBEARER", OAuth: oauth{TokenFile: "t", ClientID: "c", Scopes: []string{"s"}}}, []string{"sasl.oauth.client_id: needs sasl.oauth.token_url", "sasl.oauth.scopes: needs"}},
		"problems of both, all of them at once":  {tls{CAFile: "ca"}, sasl{Mechanism: "x", PasswordEnv: "E"}, []string{"tls.ca_file", "sasl.mechanism", "sasl.username"}},
		"and with the brokers, through a client": {tls{KeyFile: "k"}, sasl{}, []string{"brokers: must be at least one", "tls.key_file"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := kafka.Client{Security: kafka.Security{TLS: c.tls, SASL: c.sasl}}.Validate()
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want %q", err, w)
				}
			}
		})
	}
	for name, s := range map[string]kafka.Security{
		"nothing":                  {},
		"TLS with the system's":    {TLS: tls{Enabled: true}},
		"TLS with everything":      {TLS: tls{Enabled: true, CAFile: "ca", CertFile: "c", KeyFile: "k", ServerName: "n"}},
		"SCRAM without encryption": {SASL: sasl{Mechanism: "SCRAM-SHA-512", Username: "u", PasswordFile: "f"}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConfigNamesEveryFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(dir, "absent")
	for name, c := range map[string]struct {
		security kafka.Security
		want     []string
	}{
		"files that are not there": {
			kafka.Security{
				TLS:  kafka.TLS{Enabled: true, CAFile: absent, CertFile: absent, KeyFile: absent},
				SASL: kafka.SASL{Mechanism: "PLAIN", Username: "u", PasswordFile: absent},
			},
			[]string{"tls.ca_file: open " + absent, "tls.cert_file and tls.key_file: open " + absent, "sasl.password_file: open " + absent},
		},
		"files that hold nothing": {
			kafka.Security{
				TLS:  kafka.TLS{Enabled: true, CAFile: empty, CertFile: empty, KeyFile: empty},
				SASL: kafka.SASL{Mechanism: "SCRAM-SHA-256", Username: "u", PasswordFile: empty},
			},
			[]string{"tls.ca_file: must hold a certificate in PEM", "tls.cert_file and tls.key_file: tls: failed to find", "sasl.password_file: the file must hold a secret"},
		},
		"a variable that is not set": {
			kafka.Security{SASL: kafka.SASL{Mechanism: "PLAIN", Username: "u", PasswordEnv: "KAFKALAB_TEST_UNSET"}},
			[]string{`sasl.password_env: the variable must hold a secret (got "KAFKALAB_TEST_UNSET", which is empty)`},
		},
		"what Validate finds": {
			kafka.Security{SASL: kafka.SASL{Mechanism: "PLAIN"}},
			[]string{"sasl.username: must be set"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := kafka.Client{Brokers: []string{"a:1"}, Security: c.security}.Config()
			for _, w := range c.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want %q", err, w)
				}
			}
		})
	}
}

const hidden = "swordfish"

func TestNothingThatIsPrintedHoldsThePassword(t *testing.T) {
	t.Setenv("KAFKALAB_TEST_PASSWORD", hidden)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			client := kafka.Client{
				Brokers:  []string{"a:1"},
				Security: kafka.Security{SASL: kafka.SASL{Mechanism: mechanism, Username: "u", PasswordEnv: "KAFKALAB_TEST_PASSWORD"}},
			}
			conf, err := client.Config()
			if err != nil {
				t.Fatal(err)
			}
			if err := conf.Validate(); err != nil {
				t.Fatal(err)
			}
			exchange := conf.Net.SASL.SCRAMClientGeneratorFunc()
			if err := exchange.Begin("u", "", ""); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			logger := slog.New(slog.NewTextHandler(&log, nil))
			for _, v := range []any{client, client.Security, *conf, conf.Net, exchange} {
				logger.Info("here", "value", v)
				for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
					fmt.Fprintf(&log, verb+"\n", v)
				}
			}
			if strings.Contains(log.String(), hidden) {
				t.Errorf("the password is in what was printed:\n%s", log.String())
			}
		})
	}
}

// Each way in, and what a client is told that may not come in.
func TestWithARealBroker(t *testing.T) {
	b := kafkatest.Start(t, kafkatest.Secure(t), kafkatest.Env(map[string]string{"KAFKA_CONNECTIONS_MAX_REAUTH_MS": "3000"}))
	s := b.Secured
	stranger := kafkatest.NewCertificates(t) // the broker knows nothing of them

	tls := kafka.TLS{Enabled: true, CAFile: s.CAFile}
	mutual := kafka.TLS{Enabled: true, CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile}
	strange := kafka.TLS{Enabled: true, CAFile: s.CAFile, CertFile: stranger.CertFile, KeyFile: stranger.KeyFile}
	user := func(mechanism, file string) kafka.SASL {
		return kafka.SASL{Mechanism: mechanism, Username: kafkatest.User, PasswordFile: file}
	}
	file := func(name, text string) string {
		name = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	wrong := file("wrong", "something else")
	bearer := func(o kafka.OAuth) kafka.SASL { return kafka.SASL{Mechanism: "OAUTHBEARER", OAuth: o} }
	right, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := s.Issuer.Endpoint(t, "me", strings.TrimSpace(string(right)), time.Hour).URL
	other := kafkatest.NewIssuer(t)
	nobody := unused(t)
	for name, c := range map[string]struct {
		addr     string
		security kafka.Security
		refused  string // empty: comes in
	}{
		"OAUTHBEARER by an endpoint":         {s.OAuthAddr, kafka.Security{SASL: bearer(kafka.OAuth{TokenURL: endpoint, ClientID: "me", ClientSecretFile: s.PasswordFile})}, ""},
		"OAUTHBEARER by a file":              {s.OAuthAddr, kafka.Security{SASL: bearer(kafka.OAuth{TokenFile: file("token", s.Issuer.Token(t, time.Hour))})}, ""},
		"plaintext":                          {b.Addr, kafka.Security{}, ""},
		"TLS":                                {s.TLSAddr, kafka.Security{TLS: tls}, ""},
		"TLS with a certificate":             {s.MutualTLSAddr, kafka.Security{TLS: mutual}, ""},
		"TLS by another name":                {s.TLSAddr, kafka.Security{TLS: kafka.TLS{Enabled: true, CAFile: s.CAFile, ServerName: "localhost"}}, ""},
		"TLS with anybody":                   {s.TLSAddr, kafka.Security{TLS: kafka.TLS{Enabled: true, InsecureSkipVerify: true}}, ""},
		"PLAIN":                              {s.SASLAddr, kafka.Security{SASL: user("PLAIN", s.PasswordFile)}, ""},
		"SCRAM-SHA-256":                      {s.SASLAddr, kafka.Security{SASL: user("SCRAM-SHA-256", s.PasswordFile)}, ""},
		"SCRAM-SHA-512":                      {s.SASLAddr, kafka.Security{SASL: user("SCRAM-SHA-512", s.PasswordFile)}, ""},
		"PLAIN inside TLS":                   {s.SASLTLSAddr, kafka.Security{TLS: tls, SASL: user("PLAIN", s.PasswordFile)}, ""},
		"SCRAM-SHA-256 inside TLS":           {s.SASLTLSAddr, kafka.Security{TLS: tls, SASL: user("SCRAM-SHA-256", s.PasswordFile)}, ""},
		"SCRAM-SHA-512 inside TLS":           {s.SASLTLSAddr, kafka.Security{TLS: tls, SASL: user("SCRAM-SHA-512", s.PasswordFile)}, ""},
		"TLS where the broker has none":      {b.Addr, kafka.Security{TLS: tls}, "leave tls.enabled out"},
		"TLS with an unknown authority":      {s.TLSAddr, kafka.Security{TLS: kafka.TLS{Enabled: true, CAFile: stranger.CAFile}}, "tls.ca_file has to hold that authority's certificate"},
		"TLS with the wrong name":            {s.TLSAddr, kafka.Security{TLS: kafka.TLS{Enabled: true, CAFile: s.CAFile, ServerName: "elsewhere"}}, "or set tls.server_name to one"},
		"no certificate where one is needed": {s.MutualTLSAddr, kafka.Security{TLS: tls}, "set tls.cert_file and tls.key_file"},
		"a certificate of somebody else's":   {s.MutualTLSAddr, kafka.Security{TLS: strange}, "an authority that"},
		"PLAIN with the wrong password":      {s.SASLAddr, kafka.Security{SASL: user("PLAIN", wrong)}, "Invalid username or password: the broker refuses the login: check sasl.mechanism, sasl.username"},
		"SCRAM with the wrong password":      {s.SASLAddr, kafka.Security{SASL: user("SCRAM-SHA-512", wrong)}, "the broker refuses the login: check"},
		"no name where one is needed":        {s.SASLAddr, kafka.Security{}, "a login (sasl.mechanism)"},
		"plaintext where the broker has TLS": {s.TLSAddr, kafka.Security{}, "the port may want TLS (tls.enabled)"},
		"a mechanism that the port lacks":    {s.OAuthAddr, kafka.Security{SASL: user("PLAIN", s.PasswordFile)}, "this port does not have that mechanism"},
		"a login where there is none":        {b.Addr, kafka.Security{SASL: user("PLAIN", s.PasswordFile)}, "this port has no login"},
		"a token of somebody else's":         {s.OAuthAddr, kafka.Security{SASL: bearer(kafka.OAuth{TokenFile: file("strange", other.Token(t, time.Hour))})}, "of OAUTHBEARER, who issues the tokens"},
		"a token that has expired":           {s.OAuthAddr, kafka.Security{SASL: bearer(kafka.OAuth{TokenFile: file("old", s.Issuer.Token(t, -time.Hour))})}, "how long they live"},
		"a client that the endpoint refuses": {s.OAuthAddr, kafka.Security{SASL: bearer(kafka.OAuth{TokenURL: endpoint, ClientID: "you", ClientSecretFile: s.PasswordFile})}, "check sasl.oauth.client_id"},
		"an endpoint that is down":           {s.OAuthAddr, kafka.Security{SASL: bearer(kafka.OAuth{TokenURL: "http://" + nobody, ClientID: "me", ClientSecretFile: s.PasswordFile})}, "fetch token from http://" + nobody},
		"nobody":                             {nobody, kafka.Security{}, "nothing listens there"},
		"a name that there is not":           {"kafka.invalid:9092", kafka.Security{}, "no address is known for that name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := connect(t, kafka.Client{Brokers: []string{c.addr}, ID: "test", Timeout: 20 * time.Second, Security: c.security}) // the JVM is cold
			if c.refused == "" && err != nil {
				t.Errorf("got %v, want to come in", err)
			}
			if c.refused != "" && (err == nil || !strings.Contains(kafka.Explain(err).Error(), c.refused)) {
				t.Errorf("got %v, want an error with %q", kafka.Explain(err), c.refused)
			}
		})
	}
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256"} {
		t.Run("a broker that asks once more is answered on the same connection by "+mechanism, func(t *testing.T) {
			t.Parallel()
			conf, err := kafka.Client{Security: kafka.Security{TLS: tls, SASL: user(mechanism, s.PasswordFile)}}.Config()
			if err != nil {
				t.Fatal(err)
			}
			var asked atomic.Int64
			exchange := conf.Net.SASL.SCRAMClientGeneratorFunc
			conf.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { asked.Add(1); return exchange() }
			for deadline := time.Now().Add(time.Minute); ; {
				err := askedAgain(s.SASLTLSAddr, conf, &asked)
				if err == nil {
					return
				}
				if time.Now().After(deadline) { // a busy machine can be late with its answer, and Kafka then ends the connection
					t.Fatal(err)
				}
			}
		})
		t.Run("a password of "+mechanism+" that changes is taken up by the next connection", func(t *testing.T) {
			t.Parallel()
			right, err := os.ReadFile(s.PasswordFile)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "password")
			rotate := func(text []byte) {
				t.Helper()
				if err := os.WriteFile(file, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			rotate(right)
			client := kafka.Client{Brokers: []string{s.SASLAddr}, Timeout: 20 * time.Second, Security: kafka.Security{SASL: user(mechanism, file)}}
			conf, err := client.Config()
			if err != nil {
				t.Fatal(err)
			}
			conf.Metadata.Retry.Max = 0
			if err := try(client.Brokers, conf); err != nil {
				t.Fatalf("the first password: %v", err)
			}
			rotate([]byte("no longer this one"))
			if err := try(client.Brokers, conf); err == nil {
				t.Error("a wrong password: got in")
			}
			rotate(right)
			if err := try(client.Brokers, conf); err != nil {
				t.Errorf("the right password again: %v", err)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := try(client.Brokers, conf); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file is gone: got %v", err)
			}
		})
	}
}

// askedAgain uses one connection until the broker has asked for the password twice.
func askedAgain(addr string, conf *sarama.Config, asked *atomic.Int64) error {
	asked.Store(0)
	broker := sarama.NewBroker(addr)
	if err := broker.Open(conf); err != nil {
		return err
	}
	defer broker.Close() //nolint:errcheck // only the answers matter
	for ; asked.Load() < 2; time.Sleep(50 * time.Millisecond) {
		if _, err := broker.GetMetadata(&sarama.MetadataRequest{Version: 7}); err != nil {
			return err
		}
	}
	_, err := broker.GetMetadata(&sarama.MetadataRequest{Version: 7})
	return err
}

// unused is an address that nobody listens on.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func connect(t *testing.T, client kafka.Client) error {
	t.Helper()
	conf, err := client.Config()
	if err != nil {
		t.Fatal(err)
	}
	conf.Metadata.Retry.Max = 0
	return try(client.Brokers, conf)
}

// try connects, and then asks for metadata, so that the addresses which the broker gives out are used too.
func try(brokers []string, conf *sarama.Config) error {
	first := sarama.NewBroker(brokers[0])
	if err := first.Open(conf); err != nil {
		return err
	}
	defer first.Close() //nolint:errcheck // only the connection matters
	if _, err := first.Connected(); err != nil {
		return err
	}
	client, err := sarama.NewClient(brokers, conf)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // only the connection matters
	all := client.Brokers()
	if len(all) != 1 {
		return fmt.Errorf("got %d brokers, want 1", len(all))
	}
	if err := all[0].Open(conf); err != nil && !errors.Is(err, sarama.ErrAlreadyConnected) {
		return err
	}
	_, err = all[0].GetMetadata(&sarama.MetadataRequest{Version: 7})
	return err
}
