package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/status"
)

// TestWatchCommand: a tuner whose page tells more than its status, one whose page does not, and none.
func TestWatchCommand(t *testing.T) {
	now := time.Now()
	before := func(d time.Duration) int64 { return now.Add(-d).UnixMilli() }
	knobs := []status.Knob{{Name: "heap", Desired: status.Ptr(int64(512)), Effective: status.Ptr(int64(256))}}
	for name, c := range map[string]struct {
		now  string
		want []string
	}{
		"with all that its page is told": {
			`{"health":[{"name":"Kafka","state":"bad","text":"nothing can be read back"}],"about":{"plan":{"windows":8}},
			"samples":{"epoch":"a","whole":true,"t":[%d,%d,%d],"p99":[150.5,null,90],"acked":[1000,1100,1200]}}`,
			[]string{"trial 2", "measuring, 3 of 8 windows", "Kafka: nothing can be read back", "Grafana: 2 annotations wait: 401", "▅", "└ the last"},
		},
		"with its status alone": {"", []string{"measuring, 3 windows", "knobs: heap is 256 and should be 512", "figures: missing p99", "Grafana: 2 annotations wait: 401"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := status.Snapshot{
				State: status.Trialing, SLO: 200, Live: status.Live{Missing: map[string]string{"p99": "no-data"}}, Knobs: knobs,
				Trial: &status.Trial{Number: 2, Phase: "measuring", WindowsSoFar: 3, Since: now}, Annotations: &status.Annotations{Pending: 2, Error: "401"},
			}
			board := status.NewBoard(s)
			mux := http.NewServeMux()
			mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(board.Snapshot()) })
			if c.now != "" {
				mux.HandleFunc("GET /page/now", func(w http.ResponseWriter, _ *http.Request) {
					fmt.Fprintf(w, c.now, before(10*time.Minute), before(5*time.Minute), before(time.Minute))
				})
			}
			server := httptest.NewServer(mux)
			defer server.Close()
			code, stdout, stderr := call(t, "watch", "--once", "--address="+server.URL)
			for _, want := range c.want {
				if code != 0 || !strings.Contains(stdout, want) || strings.Contains(stdout, "\x1b") {
					t.Errorf("want %q and no colours (got %d, %s)\n%s", want, code, stderr, stdout)
				}
			}
		})
	}
	for _, c := range []struct{ args, want string }{
		{"--once --address=http://127.0.0.1:1", "ask tuner"}, {"--address=127.0.0.1:9500", "--address: want http://host:port"}, {"--interval=1ms", "--interval: want 100ms..1h (got 1ms)"},
	} {
		if code, _, stderr := call(t, append([]string{"watch"}, strings.Fields(c.args)...)...); code != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("watch %s: want %q (got %d, %s)", c.args, c.want, code, stderr)
		}
	}
}
