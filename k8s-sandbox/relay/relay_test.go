package relay_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/k8s-sandbox/relay"
)

const (
	key   = "sk-canary"
	token = "worth nothing elsewhere"
	path  = "/v1/chat/completions"
)

// start is a relay in front of a model.
func start(t *testing.T, header string, model http.HandlerFunc) string {
	t.Helper()
	there := httptest.NewServer(model)
	t.Cleanup(there.Close)
	to, err := url.Parse(there.URL + "/base/chat/completions")
	if err != nil {
		t.Fatal(err)
	}
	h, err := relay.New(relay.Config{Path: path, To: to, Token: token, Key: key, Header: header, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	here := httptest.NewServer(h)
	t.Cleanup(here.Close)
	return here.URL
}

func ask(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("the question"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestTheModelGetsTheKeyAndNeverTheToken(t *testing.T) {
	for header, want := range map[string]string{"Authorization": "Bearer " + key, "X-Api-Key": key} {
		t.Run(header, func(t *testing.T) {
			url := start(t, header, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/base/chat/completions" || r.Header.Get(header) != want {
					t.Errorf("asked %s with %q", r.URL.Path, r.Header.Get(header))
				}
				if all := fmt.Sprint(r.Header); strings.Contains(all, token) {
					t.Errorf("the token went along: %s", all)
				}
				text, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "an answer to %s", text)
			})
			for _, mine := range [][]string{{"Authorization", "Bearer " + token}, {"X-Api-Key", token}} {
				if resp, text := ask(t, http.MethodPost, url+path, mine...); resp.StatusCode != http.StatusOK || text != "an answer to the question" {
					t.Errorf("%v: got %s: %s", mine, resp.Status, text)
				}
			}
		})
	}
}

func TestNobodyElseAndNothingElse(t *testing.T) {
	url := start(t, "Authorization", func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked %s %s", r.Method, r.URL) })
	good := []string{"Authorization", "Bearer " + token}
	for name, c := range map[string]struct {
		method, path string
		header       []string
		want         int
	}{
		"no token":             {http.MethodPost, path, nil, http.StatusUnauthorized},
		"another token":        {http.MethodPost, path, []string{"X-Api-Key", "guessed"}, http.StatusUnauthorized},
		"the key itself":       {http.MethodPost, path, []string{"Authorization", "Bearer " + key}, http.StatusUnauthorized},
		"another path":         {http.MethodPost, "/v1/files", good, http.StatusNotFound},
		"a path that leads up": {http.MethodPost, path + "/../../files", good, http.StatusNotFound},
		"another method":       {http.MethodGet, path, good, http.StatusMethodNotAllowed},
		"a tunnel":             {http.MethodConnect, path, good, http.StatusMethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			if resp, text := ask(t, c.method, url+c.path, c.header...); resp.StatusCode != c.want {
				t.Errorf("got %s: %s, want %d", resp.Status, text, c.want)
			}
		})
	}
}

func TestAnAnswerThatRepeatsTheKeyArrivesWithoutIt(t *testing.T) {
	url := start(t, "Authorization", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "wrong key: "+r.Header.Get("Authorization"), http.StatusUnauthorized)
	})
	resp, text := ask(t, http.MethodPost, url+path, "X-Api-Key", token)
	if resp.StatusCode != http.StatusUnauthorized || text != "wrong key: Bearer [key]\n" {
		t.Errorf("got %s: %q", resp.Status, text)
	}
}

// An answer comes as it is given, word by word: the model goes on only once the first word has arrived.
func TestAnAnswerIsNotHeldBack(t *testing.T) {
	arrived := make(chan struct{})
	url := start(t, "Authorization", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: one\n")
		w.(http.Flusher).Flush()
		select {
		case <-arrived:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, "data: two\n")
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{"data: one", "data: two"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q (%v), want %q", lines.Text(), lines.Err(), want)
		}
		if want == "data: one" {
			close(arrived)
		}
	}
}

func TestAModelThatIsNotThereIsSaid(t *testing.T) {
	to, err := url.Parse("http://127.0.0.1:1/v1")
	if err != nil {
		t.Fatal(err)
	}
	h, err := relay.New(relay.Config{Path: path, To: to, Token: token, Key: key, Header: "Authorization", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	here := httptest.NewServer(h)
	defer here.Close()
	if resp, text := ask(t, http.MethodPost, here.URL+path, "X-Api-Key", token); resp.StatusCode != http.StatusBadGateway || !strings.Contains(text, "does not answer") {
		t.Errorf("got %s: %s", resp.Status, text)
	}
}
