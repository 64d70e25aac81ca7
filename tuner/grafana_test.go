package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/status"
)

// TestTheProgramWritesAnnotations: what its ledger holds when it starts is in Grafana soon after, with the token of the file, and is told of.
func TestTheProgramWritesAnnotations(t *testing.T) {
	var mu sync.Mutex
	var texts []string
	grafana := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodPost {
			var a struct{ Text string }
			_ = json.NewDecoder(r.Body).Decode(&a) // an empty text fails the test
			texts = append(texts, a.Text)
			fmt.Fprint(w, `{"id":1}`)
			return
		}
		fmt.Fprint(w, "[]")
	}))
	defer grafana.Close()
	token := write(t, "token", "secret\n")
	args, address := alone(t, "mode: auto", "mode: observe", "revert: true", "revert: false", "links:", fmt.Sprintf("grafana: {url: %q, token_file: %q}\nlinks:", grafana.URL, token))
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append(args, "--status-dir="+filepath.Join(t.TempDir(), "status"), "--ledger="+ledgerFile(t)), &out, &errs)
	}()
	eventually(t, func() error {
		var s status.Snapshot
		resp, err := http.Get("http://" + address + "/api/v1/status")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
			return err
		}
		if a := s.Annotations; a == nil || *a != (status.Annotations{Written: 2}) {
			return fmt.Errorf("want two annotations written (got %+v)\n%s", a, errs.String())
		}
		return nil
	})
	cancel()
	if code := <-done; code != 0 {
		t.Errorf("want code 0 (got %d)\n%s", code, errs.String())
	}
	mu.Lock()
	defer mu.Unlock()
	if len(texts) != 2 || texts[0] != "kept in trial 1: io_threads 2 → 4\ngoodput went up" || texts[1] != "changed by kubectl-patch: io_threads 4 → 8" {
		t.Errorf("want the trial and the patch (got %q)", texts)
	}
}
