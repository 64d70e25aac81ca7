package annotate_test

import (
	"bytes"
	"errors"
	stdio "io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kafkalab/kafkalab/tuner/annotate"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// onItsWay carries requests to Grafana without a network. The first that creates something is given up, and is still on its way.
type onItsWay struct {
	f     *fake
	first func() // arrives
}

func (o *onItsWay) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && o.first == nil {
		body, err := stdio.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		late := r.Clone(r.Context())
		o.first = func() {
			late.Body = stdio.NopCloser(bytes.NewReader(body))
			o.f.ServeHTTP(httptest.NewRecorder(), late)
		}
		return nil, errors.New("connection reset")
	}
	answer := httptest.NewRecorder()
	o.f.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// TestTheSecondLook: a request that was given up, and is carried out long after the same was made anew, leaves nothing behind: what was made is looked
// at once more, half a minute later, and not before, and never again.
func TestTheSecondLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shown
		w, err := annotate.New(annotate.Config{URL: "http://grafana/sub", Target: target, Show: s.show, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		way := &onItsWay{f: &fake{}}
		w.By(way)
		j := begin(t, w)
		write(t, j, session())
		write(t, j, attempt(1, io(2, 4))...)
		until(t, "it is made anew", func() bool { return s.last() == status.Annotations{Written: 1} })
		calls := len(way.f.calls())
		time.Sleep(15 * time.Second)
		way.first()
		time.Sleep(14 * time.Second)
		if n, _ := way.f.all(); len(n) != 2 || len(way.f.calls()) != calls+1 {
			t.Errorf("want nothing asked yet (got %d annotations after %q)", len(n), way.f.calls()[calls:])
		}
		time.Sleep(2 * time.Second)
		if n, _ := way.f.all(); len(n) != 1 || !w.Idle() {
			t.Errorf("want one annotation and nothing left to do (got %v)", n)
		}
		calls = len(way.f.calls())
		time.Sleep(time.Hour)
		if n := len(way.f.calls()); n != calls {
			t.Errorf("want nothing asked any more (got %q)", way.f.calls()[calls:])
		}
	})
}
