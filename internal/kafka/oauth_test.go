package kafka_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/kafkalab/kafkalab/internal/kafka"
)

// provider is where sarama gets tokens from an endpoint.
func provider(t *testing.T, url string) sarama.AccessTokenProvider {
	t.Helper()
	t.Setenv("KAFKALAB_TEST_SECRET", hidden)
	conf, err := kafka.Client{Timeout: 2 * time.Second, Security: kafka.Security{SASL: kafka.SASL{
		Mechanism: "OAUTHBEARER", OAuth: kafka.OAuth{TokenURL: url, ClientID: "me", ClientSecretEnv: "KAFKALAB_TEST_SECRET", Scopes: []string{"a", "b"}},
	}}}.Config()
	if err != nil {
		t.Fatal(err)
	}
	if err := conf.Validate(); err != nil {
		t.Fatal(err)
	}
	return conf.Net.SASL.TokenProvider
}

func TestATokenServesUntilAFifthOfItsLifeIsLeft(t *testing.T) {
	var asked atomic.Int64
	var life atomic.Int64
	life.Store(3600)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.FormValue("scope"); got != "a b" {
			t.Errorf("scope: got %q", got)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token": "%s-%d", "expires_in": %d}`, hidden, asked.Add(1), life.Load())
	}))
	defer endpoint.Close()
	tokens := provider(t, endpoint.URL)
	want := func(n int) {
		t.Helper()
		got, err := tokens.Token()
		if err != nil {
			t.Fatal(err)
		}
		if got.Token != fmt.Sprintf("%s-%d", hidden, n) {
			t.Errorf("got token %s, want number %d", got.Token, n)
		}
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { want(1) }) // as many brokers connect at the same time
	}
	all.Wait()
	want(1)

	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("here", "tokens", tokens)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		fmt.Fprintf(&log, verb, tokens)
	}
	if strings.Contains(log.String(), hidden) {
		t.Errorf("the token is in what was printed:\n%s", log.String())
	}

	life.Store(1) // from now on they are to be renewed after 0.8 s
	short := provider(t, endpoint.URL)
	first, err := short.Token()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		next, err := short.Token()
		if err != nil {
			t.Fatal(err)
		}
		if next.Token != first.Token {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the token was never renewed")
		}
	}
}

// While a token is good, an endpoint that is away for a moment is no reason to lose the cluster.
func TestAnEndpointThatIsAwayLeavesTheTokenThatIsStillGood(t *testing.T) {
	var down atomic.Bool
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token": "good", "expires_in": 3}`)
	}))
	defer endpoint.Close()
	tokens := provider(t, endpoint.URL)
	began := time.Now() // not later: from then on the token is good for three seconds at least
	if _, err := tokens.Token(); err != nil {
		t.Fatal(err)
	}
	down.Store(true)
	for { // renewed from 2.4 s on, good until 3 s
		_, err := tokens.Token()
		if err != nil {
			if took := time.Since(began); took < 2500*time.Millisecond {
				t.Errorf("failed after %s, while the token was good: %v", took, err)
			}
			if !strings.Contains(err.Error(), "fetch token from "+endpoint.URL) {
				t.Errorf("got %v", err)
			}
			return
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal("a token that has expired still serves")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestATokensFileIsReadEachTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	conf, err := kafka.Client{Security: kafka.Security{SASL: kafka.SASL{Mechanism: "OAUTHBEARER", OAuth: kafka.OAuth{TokenFile: file}}}}.Config()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"one\n": "one", "two": "two", " three \r\n": "three"} {
		write(text)
		if got, err := conf.Net.SASL.TokenProvider.Token(); err != nil || got.Token != want {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "two tokens", "a\x01auth=b"} {
		write(text)
		if _, err := conf.Net.SASL.TokenProvider.Token(); err == nil || !strings.Contains(err.Error(), "sasl.oauth.token_file: the file must hold one token") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
