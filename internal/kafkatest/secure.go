package kafkatest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
)

// Secured is what a client needs for the broker's listeners that are not open to everybody. Addresses are host:port, the rest are names of
// files.
type Secured struct {
	TLSAddr       string // TLS; the broker shows a certificate
	MutualTLSAddr string // TLS; the client has to show one too
	SASLAddr      string // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
	SASLTLSAddr   string // the same inside TLS
	OAuthAddr     string // OAUTHBEARER with tokens of Issuer

	PasswordFile string // of User
	Issuer       *Issuer
	Certificates
}

// User is a name that the SASL listeners know, by each mechanism.
const User = "lab-user"

const password = "correct horse battery staple"

// Secure adds listeners with TLS and SASL to the broker.
func Secure(t testing.TB) Option {
	t.Helper()
	s := &Secured{PasswordFile: filepath.Join(t.TempDir(), "password"), Issuer: NewIssuer(t), Certificates: NewCertificates(t)}
	if err := os.WriteFile(s.PasswordFile, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(b *Broker) {
		own := *s // each node of a cluster has addresses of its own
		b.Secured = &own
		b.env["KAFKA_SSL_KEYSTORE_TYPE"], b.env["KAFKA_SSL_KEYSTORE_LOCATION"] = "PEM", s.broker
		b.env["KAFKA_SSL_TRUSTSTORE_TYPE"], b.env["KAFKA_SSL_TRUSTSTORE_LOCATION"] = "PEM", s.CAFile
		b.env["KAFKA_LISTENER_NAME_MTLS_SSL_CLIENT_AUTH"] = "required"
		b.env["KAFKA_SASL_ENABLED_MECHANISMS"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		for _, listener := range []string{"SASL", "SASLTLS"} {
			jaas := "KAFKA_LISTENER_NAME_" + listener + "_%s_SASL_JAAS_CONFIG"
			b.env[fmt.Sprintf(jaas, "PLAIN")] = fmt.Sprintf("org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=%q;", User, password)
			for _, bits := range []string{"256", "512"} {
				b.env[fmt.Sprintf(jaas, "SCRAM___SHA___"+bits)] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
			}
		}
		s.Issuer.configure(b)
	}
}

// listeners are the protocols and addresses by the listeners' names, also of a role that this node does not have: its addresses stay empty.
func (b *Broker) listeners() []listener {
	all := []listener{{"INTERNAL", "PLAINTEXT", roleBroker, &b.Addr}, {"CONTROLLER", "PLAINTEXT", roleController, &b.quorum}}
	if s := b.Secured; s != nil {
		all = append(all, listener{"TLS", "SSL", roleBroker, &s.TLSAddr}, listener{"MTLS", "SSL", roleBroker, &s.MutualTLSAddr},
			listener{"SASL", "SASL_PLAINTEXT", roleBroker, &s.SASLAddr}, listener{"SASLTLS", "SASL_SSL", roleBroker, &s.SASLTLSAddr},
			listener{"OAUTH", "SASL_PLAINTEXT", roleBroker, &s.OAuthAddr})
	}
	return all
}

// A node's roles, as process.roles has them.
const roleBroker, roleController = "broker", "controller"

type listener struct {
	name, protocol, role string
	addr                 *string
}

// Authorize makes the broker check the rights of those who come by its SASL listeners: User has none until a test grants it some. Who comes by
// Broker.Addr has all of them. It needs Secure.
func Authorize() Option {
	return Env(map[string]string{
		"KAFKA_AUTHORIZER_CLASS_NAME": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"KAFKA_SUPER_USERS":           "User:ANONYMOUS",
	})
}

// addUser makes User known to the SCRAM mechanisms, which have their users in the cluster's metadata; PLAIN has them in the configuration.
func (b *Broker) addUser() error {
	conf, err := kafka.Client{Brokers: []string{b.Addr}, ID: "kafkatest"}.Config()
	if err != nil {
		return err
	}
	admin, err := sarama.NewClusterAdmin([]string{b.Addr}, conf)
	if err != nil {
		return fmt.Errorf("add user: %w", err)
	}
	defer admin.Close() //nolint:errcheck // nothing is left to flush
	for _, kind := range []sarama.ScramMechanismType{sarama.SCRAM_MECHANISM_SHA_256, sarama.SCRAM_MECHANISM_SHA_512} {
		// One at a time: Kafka takes a user once in each request.
		results, err := admin.UpsertUserScramCredentials([]sarama.AlterUserScramCredentialsUpsert{
			{Name: User, Mechanism: kind, Iterations: 4096, Salt: []byte("salt of the tests"), Password: []byte(password)},
		})
		if err != nil {
			return fmt.Errorf("add user: %w", err)
		}
		for _, r := range results {
			if r.ErrorCode != sarama.ErrNoError {
				return fmt.Errorf("add user %s for %s: %w", r.User, kind, r.ErrorCode)
			}
		}
	}
	return b.knowsUser()
}

// knowsUser waits until the broker has the user from the controller, which answers before.
func (b *Broker) knowsUser() error {
	security := kafka.Security{SASL: kafka.SASL{Mechanism: "SCRAM-SHA-512", Username: User, PasswordFile: b.Secured.PasswordFile}} // that one was added last
	conf, err := kafka.Client{Brokers: []string{b.Secured.SASLAddr}, ID: "kafkatest", Security: security}.Config()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(readyWithin); ; time.Sleep(50 * time.Millisecond) {
		admin, err := sarama.NewClusterAdmin([]string{b.Secured.SASLAddr}, conf) // which asks for the controller
		if err == nil {
			return admin.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("log in as %s: %w", User, err)
		}
	}
}
