package promql

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// maxAnswer is far above what one number takes; the API's client would read an answer of any length into memory.
const maxAnswer = 4 << 20

// guarded refuses answers that must not be followed or read to their end.
type guarded struct{ next http.RoundTripper }

func (g guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 3 {
		_ = resp.Body.Close()
		return nil, &redirect{status: resp.StatusCode, to: resp.Header.Get("Location")}
	}
	resp.Body = &bounded{ReadCloser: resp.Body, left: maxAnswer}
	return resp, nil
}

// redirect is not followed: mostly it leads to a page where people log in, and what shows who we are is not for whoever it names.
type redirect struct {
	status int
	to     string
}

func (r *redirect) Error() string {
	return fmt.Sprintf("the server answers %d and names another address, %q; if that is the right one, set it as the url", r.status, r.to)
}

var errTooLarge = fmt.Errorf("the answer is longer than %d MiB; aggregate the series", maxAnswer>>20)

type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// causeOf names a failure of the request itself. ctx is the caller's, so that our own limit is told from the caller's giving up.
func causeOf(ctx context.Context, err error) Cause {
	var e *v1.Error
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case !errors.As(err, &e):
		return transportCause(err)
	}
	switch e.Type {
	case v1.ErrBadData, v1.ErrExec:
		return BadQuery
	case v1.ErrTimeout, v1.ErrCanceled:
		return Timeout
	case v1.ErrServer:
		return serverCause(e)
	case v1.ErrClient:
		switch {
		case strings.HasSuffix(e.Msg, "401"), strings.HasSuffix(e.Msg, "403"):
			return Denied
		case strings.HasSuffix(e.Msg, "429"):
			return Throttled
		}
	case v1.ErrBadResponse:
		if strings.Contains(e.Msg, "value type") {
			return NotANumber
		}
	}
	return BadAnswer
}

// serverCause tells a query that took the server too long from a server that does not work: both come with 503.
func serverCause(e *v1.Error) Cause {
	var said struct {
		ErrorType v1.ErrorType `json:"errorType"`
	}
	if json.Unmarshal([]byte(e.Detail), &said) == nil && (said.ErrorType == v1.ErrTimeout || said.ErrorType == v1.ErrCanceled) {
		return Timeout
	}
	return ServerError
}

func transportCause(err error) Cause {
	var (
		to          *redirect
		file        *fs.PathError
		certificate *tls.CertificateVerificationError
		slow        interface{ Timeout() bool }
		other       *url.Error
	)
	switch {
	case errors.As(err, &to):
		return Redirected
	case errors.Is(err, errTooLarge):
		return TooLarge
	case errors.As(err, &file):
		return Credentials
	case errors.As(err, &certificate), strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return TLSFailed
	case errors.As(err, &slow) && slow.Timeout():
		return Timeout
	case errors.As(err, &other):
		return Unreachable
	}
	return BadAnswer
}

// brief keeps a proxy's page from filling the log and the ledger.
func brief(err error) string {
	text := err.Error()
	var e *v1.Error
	if errors.As(err, &e) && e.Detail != "" {
		text += ": " + e.Detail
	}
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > 240 {
		text = string(runes[:240]) + "…"
	}
	return text
}
