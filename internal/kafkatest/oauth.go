package kafkatest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Issuer makes the tokens that the broker's OAUTHBEARER listener takes: it knows the issuer's key from a file.
type Issuer struct {
	key  *rsa.PrivateKey
	jwks string // name of the file
}

const (
	issuer   = "https://issuer.kafkatest"
	audience = "kafka"
)

// NewIssuer makes one that no broker knows. A broker's own comes with Secure.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatalf("make issuer's key: %v", err)
	}
	i := &Issuer{key: key, jwks: filepath.Join(t.TempDir(), "jwks.json")}
	public := map[string]string{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1",
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
	text, err := json.Marshal(map[string]any{"keys": []any{public}})
	if err == nil {
		err = os.WriteFile(i.jwks, text, 0o600)
	}
	if err != nil {
		t.Fatalf("write issuer's key: %v", err)
	}
	return i
}

// Token is signed for User and lives for the given time.
func (i *Issuer) Token(t testing.TB, life time.Duration) string {
	t.Helper()
	text, err := i.sign(life)
	if err != nil {
		t.Fatalf("sign token: %v", err)
	}
	return text
}

func (i *Issuer) sign(life time.Duration) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "aud": audience, "sub": User, "iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(life).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"1","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), err
}

// Endpoint gives tokens that live for the given time to the client of the id with the secret (RFC 6749, client credentials), by HTTP on
// loopback. It ends with the test.
func (i *Issuer) Endpoint(t testing.TB, id, secret string, life time.Duration) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		user, pass, _ := r.BasicAuth() // both are encoded as in a form
		if user != url.QueryEscape(id) || pass != url.QueryEscape(secret) || r.FormValue("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error": "invalid_client"}`)
			return
		}
		token, err := i.sign(life)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, `{"access_token": %q, "token_type": "Bearer", "expires_in": %d}`, token, int(life.Seconds()))
	}))
	t.Cleanup(s.Close)
	return s
}

// configure makes the broker's listener take the issuer's tokens.
func (i *Issuer) configure(b *Broker) {
	const own = "KAFKA_LISTENER_NAME_OAUTH_"
	file := "file://" + i.jwks
	b.env[own+"SASL_ENABLED_MECHANISMS"] = "OAUTHBEARER"
	b.env[own+"OAUTHBEARER_SASL_SERVER_CALLBACK_HANDLER_CLASS"] = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler"
	// The claim is for a token of the broker's own, which it never shows to anybody and cannot start without.
	b.env[own+"OAUTHBEARER_SASL_JAAS_CONFIG"] = `org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="kafka";`
	b.env[own+"OAUTHBEARER_SASL_OAUTHBEARER_JWKS_ENDPOINT_URL"] = file
	b.env[own+"OAUTHBEARER_SASL_OAUTHBEARER_EXPECTED_AUDIENCE"] = audience
	b.env[own+"OAUTHBEARER_SASL_OAUTHBEARER_EXPECTED_ISSUER"] = issuer
	b.env["KAFKA_OPTS"] = "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + file
}
