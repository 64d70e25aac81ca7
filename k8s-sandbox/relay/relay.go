// Package relay is the one way out of the sandbox, and there only while an agent is at work: it hands what an agent asks of its model to that
// model, and adds the key.
//
// It runs on the machine and not in the cluster, so that the key is where nothing that a model makes an agent do can read it. It promises
// that it asks one address and no other, that it does so only for the holder of a token that is worth nothing elsewhere, and that an answer
// which repeats the key arrives without it.
package relay

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
)

// Config is what is handed on, where to, and for whom.
type Config struct {
	Path   string   // the one that is answered
	To     *url.URL // what is asked instead
	Token  string   // what the agent holds in place of a key
	Key    string   // what the model wants; empty: nothing
	Header string   // in which the model wants it: Authorization or X-Api-Key
	Logger *slog.Logger
}

// maxComplaint bounds what is kept of an answer that says that something went wrong.
const maxComplaint = 64 << 10

// New makes the handler. GET /-/healthy says where it leads.
func New(c Config) (http.Handler, error) {
	if c.Path == "" || c.To == nil || c.To.Host == "" || c.Token == "" || c.Logger == nil {
		return nil, errors.New("relay: path, address, token and logger are required")
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { c.rewrite(r.Out) },
		ModifyResponse: c.withoutKey,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			c.Logger.Warn("the model does not answer", "err", err)
			http.Error(w, "the model does not answer", http.StatusBadGateway)
		},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, c.To.String())
	})
	mux.HandleFunc("POST "+c.Path, func(w http.ResponseWriter, r *http.Request) {
		if !c.knows(r) {
			http.Error(w, "a token is needed that only the lab's agent has", http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	})
	return mux, nil
}

func (c Config) knows(r *http.Request) bool {
	got := r.Header.Get("X-Api-Key")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		got = bearer
	}
	return subtle.ConstantTimeCompare([]byte(got), []byte(c.Token)) == 1
}

func (c Config) rewrite(out *http.Request) {
	to := *c.To
	out.URL, out.Host = &to, to.Host
	for _, name := range []string{"Authorization", "X-Api-Key", "Cookie"} {
		out.Header.Del(name)
	}
	// Nothing compressed, so that a key in an answer can be seen.
	out.Header.Set("Accept-Encoding", "identity")
	switch {
	case c.Key == "":
	case c.Header == "Authorization":
		out.Header.Set("Authorization", "Bearer "+c.Key)
	default:
		out.Header.Set(c.Header, c.Key)
	}
}

// withoutKey looks at complaints: some servers repeat what they were given.
func (c Config) withoutKey(r *http.Response) error {
	if c.Key == "" || r.StatusCode < 400 {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, maxComplaint))
	if err != nil {
		return err
	}
	_ = r.Body.Close()
	text = bytes.ReplaceAll(text, []byte(c.Key), []byte("[key]"))
	r.Body = io.NopCloser(bytes.NewReader(text))
	r.ContentLength = int64(len(text))
	r.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}
