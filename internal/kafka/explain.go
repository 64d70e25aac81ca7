package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/IBM/sarama"
	"golang.org/x/oauth2"
)

// Explain adds to the error of a connection what somebody can do about it, by the names of the settings, where the error itself does not say.
func Explain(err error) error {
	if advice := advice(err); advice != "" {
		return fmt.Errorf("%w: %s", err, advice)
	}
	return err
}

func advice(err error) string {
	for _, known := range []func(error) string{aboutCertificates, aboutTLS, aboutSASL, aboutNetwork} {
		if text := known(err); text != "" {
			return text
		}
	}
	return ""
}

// aboutCertificates is about those of the brokers.
func aboutCertificates(err error) string {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the broker's certificate is not valid now: renew it, or set this machine's clock"
	case errors.As(err, &invalid):
		return "the broker's certificate cannot be used: have another one made"
	case errors.As(err, &unknown):
		return "the authority that signed the broker's certificate is not trusted: tls.ca_file has to hold that authority's certificate"
	case errors.As(err, &name):
		return "connect by a name that is in the broker's certificate, or set tls.server_name to one"
	}
	return ""
}

func aboutTLS(err error) string {
	var record tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.Is(err, errNoHandshake), errors.As(err, &record):
		return "this port has no TLS: leave tls.enabled out, or take the port that has it"
	case !errors.As(err, &op) || op.Op != "remote error":
		return ""
	}
	switch alert := op.Err.Error(); {
	case strings.Contains(alert, "certificate required"), strings.Contains(alert, "bad certificate"):
		return "the broker wants a client's certificate that it can check: set tls.cert_file and tls.key_file to one from an authority that it trusts"
	case strings.Contains(alert, "expired certificate"):
		return "the client's certificate in tls.cert_file has expired: renew it"
	case strings.Contains(alert, "certificate"):
		return "the broker does not take the client's certificate in tls.cert_file: it has to be from an authority that the broker trusts, and valid now"
	}
	return "broker and client have no version or cipher of TLS in common, or the broker's log says more"
}

func aboutSASL(err error) string {
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused):
		return "the token endpoint refuses: check sasl.oauth.client_id, the client's secret and sasl.oauth.scopes"
	case errors.Is(err, sarama.ErrSASLAuthenticationFailed):
		return "the broker refuses the login: check sasl.mechanism, sasl.username and the password in sasl.password_file or sasl.password_env; of OAUTHBEARER, who issues the tokens, for which audience, and how long they live"
	case errors.Is(err, sarama.ErrUnsupportedSASLMechanism):
		return "this port does not have that mechanism: set sasl.mechanism to one that it has"
	case errors.Is(err, sarama.ErrIllegalSASLState):
		return "this port has no login or wants another one: leave sasl.mechanism out, or take the port that has it"
	}
	return ""
}

func aboutNetwork(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return "no address is known for that name: check kafka.brokers, and that this machine can look up what the brokers have as advertised.listeners"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check that the broker runs, its port in kafka.brokers, and its advertised.listeners"
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		return "nobody answers there: check the address, and that no firewall or NetworkPolicy is in between"
	case HungUp(err) && !errors.Is(err, net.ErrClosed):
		return "the broker ended the connection: if it never works, the port may want TLS (tls.enabled) or a login (sasl.mechanism)"
	}
	return ""
}

// errNoHandshake is what becomes of TLS at a port of Kafka that has none: the broker takes the greeting for a request that is too long.
var errNoHandshake = errors.New("the handshake got no answer")
