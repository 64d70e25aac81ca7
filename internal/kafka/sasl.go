package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

const (
	plain       = sarama.SASLTypePlaintext
	scramSHA256 = sarama.SASLTypeSCRAMSHA256
	scramSHA512 = sarama.SASLTypeSCRAMSHA512
)

// apply sets sarama up so that it asks for the password at each connection. It has one hook that is called so often, and takes the
// password from its configuration otherwise, which cannot change while connections read it. The hook is meant for SCRAM; PLAIN goes the
// same way, and mechanismConn puts its name right.
func (a SASL) apply(c *sarama.Config) {
	s := &c.Net.SASL
	s.Enable, s.Handshake, s.Version = true, true, sarama.SASLHandshakeV1
	s.User, s.Password = a.Username, "read at each connection" // sarama wants one; the clients below do not
	s.Mechanism = sarama.SASLMechanism(a.Mechanism)
	s.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{sasl: a} }
	switch a.Mechanism {
	case oauthBearer:
		s.TokenProvider = &tokens{oauth: a.OAuth, timeout: c.Net.DialTimeout}
	case plain:
		s.Mechanism = stands
		s.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &plainClient{sasl: a} }
	}
}

// check finds files and variables that cannot be used: that is better known now than by the first connection.
func (a SASL) check() error {
	if a.Mechanism == oauthBearer {
		return a.OAuth.check()
	}
	_, err := a.password()
	return err
}

// scramClient is one exchange of RFC 5802 as sarama wants to see it.
type scramClient struct {
	sasl         SASL
	conversation *scram.ClientConversation
}

func (s *scramClient) Begin(string, string, string) error {
	password, err := s.sasl.password()
	if err != nil {
		return err
	}
	hash := scram.SHA256
	if s.sasl.Mechanism == scramSHA512 {
		hash = scram.SHA512
	}
	client, err := hash.NewClient(s.sasl.Username, password, "")
	if err != nil {
		return fmt.Errorf("prepare user name and password for SCRAM: %w", err)
	}
	s.conversation = client.NewConversation()
	return nil
}

func (s *scramClient) Step(challenge string) (string, error) { return s.conversation.Step(challenge) }
func (s *scramClient) Done() bool                            { return s.conversation.Done() }

// plainClient is the one message of RFC 4616. It does not keep the password: whatever prints a client cannot print that.
type plainClient struct {
	sasl       SASL
	sent, done bool
}

func (p *plainClient) Begin(string, string, string) error { return nil }

func (p *plainClient) Step(string) (string, error) {
	if p.sent {
		p.done = true // the broker had no objection
		return "", nil
	}
	password, err := p.sasl.password()
	if err != nil {
		return "", err
	}
	p.sent = true
	return "\x00" + p.sasl.Username + "\x00" + password, nil
}

func (p *plainClient) Done() bool { return p.done }

// stands is the mechanism that sarama believes in while it speaks PLAIN.
const stands = scramSHA256

// mechanismConn tells the broker PLAIN where sarama says SCRAM. Sarama writes each request by one call of Write.
type mechanismConn struct{ net.Conn }

const saslHandshake = 17 // Kafka's number of the request that names the mechanism

func (c mechanismConn) Write(b []byte) (int, error) {
	const head = 4 // length of what follows, without itself
	said, meant := protocolString(stands), protocolString(plain)
	if len(b) < head+2 || binary.BigEndian.Uint16(b[head:]) != saslHandshake || !bytes.HasSuffix(b, said) {
		return c.Conn.Write(b)
	}
	out := append(bytes.TrimSuffix(bytes.Clone(b), said), meant...)
	binary.BigEndian.PutUint32(out, uint32(len(out)-head))
	if _, err := c.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// protocolString is how Kafka writes a string that is not compact.
func protocolString(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}
