package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/internal/cli"
	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/watch"
)

type watching struct {
	address  string
	interval time.Duration
	once     bool
}

func (w *watching) flags(app *cli.App) {
	c := app.Command("watch", "Watch a running tuner in the terminal; what is not a terminal gets the same as text. NO_COLOR=1 takes the colours away.")
	c.Flag("address", "The tuner's address.").Default("http://127.0.0.1:9500").StringVar(&w.address)
	c.Flag("interval", "How often the tuner is asked.").Default("1s").DurationVar(&w.interval)
	c.Flag("once", "Print it once and end.").BoolVar(&w.once)
}

func (w *watching) run(ctx context.Context, out io.Writer) error {
	if w.interval < 100*time.Millisecond || w.interval > time.Hour {
		return fmt.Errorf("--interval: want 100ms..1h (got %s)", w.interval)
	}
	if err := (api.Client{Address: w.address}).Check(); err != nil {
		return fmt.Errorf("--address: %w", err)
	}
	q := &questions{address: strings.TrimSuffix(w.address, "/")}
	return watch.Run(ctx, watch.Config{Ask: q.moment, Address: q.address, Interval: w.interval, Once: w.once, In: os.Stdin, Out: out})
}

// questions remember how far the curves were told. The tuner tells all of them anew when it names another epoch.
type questions struct {
	address, epoch string
	after          int64
}

// moment is the status, with what the tuner's page is told beside it: health, the plan of a trial, and once the curves of the past.
func (q *questions) moment(ctx context.Context) (watch.Moment, error) {
	var m watch.Moment
	if err := (api.Client{Address: q.address}).Ask(ctx, "status", &m.Status); err != nil {
		return m, err
	}
	var now struct {
		Health []watch.Part
		About  struct {
			Plan struct {
				Settling, Warming float64
				Windows           int
			}
		}
		Samples struct {
			Epoch      string
			T          []int64
			P99, Acked []*float64
		}
	}
	switch err := q.now(ctx, fmt.Sprintf("/page/now?epoch=%s&after=%d", url.QueryEscape(q.epoch), q.after), &now); {
	case errors.Is(err, errNotThere):
		m.Health = health(m.Status)
	case err != nil:
		return m, err
	default:
		m.Health = now.Health
	}
	m.Health = append(m.Health, annotations(m.Status)...)
	m.Plan = watch.Plan{Settle: now.About.Plan.Settling, Warmup: now.About.Plan.Warming, Windows: now.About.Plan.Windows}
	if e := now.Samples; e.Epoch != q.epoch {
		for i, at := range e.T[:min(len(e.T), len(e.P99), len(e.Acked))] {
			m.Past = append(m.Past, watch.Sample{Time: time.UnixMilli(at), P99: number(e.P99[i]), Rate: number(e.Acked[i])})
		}
		q.epoch = e.Epoch
	}
	if n := len(now.Samples.T); n > 0 {
		q.after = now.Samples.T[n-1]
	}
	return m, nil
}

func number(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

// health is what can be seen of a status alone.
func health(s status.Snapshot) []watch.Part {
	figures := watch.Part{Name: "figures", State: "good", Text: "all are there"}
	if names := slices.Sorted(maps.Keys(s.Live.Missing)); len(names) > 0 {
		figures.State, figures.Text = "uneasy", "missing "+strings.Join(names, ", ")
	}
	knobs := watch.Part{Name: "knobs", State: "good", Text: "as desired"}
	for _, k := range s.Knobs {
		if k.Desired != nil && k.Effective != nil && *k.Desired != *k.Effective {
			knobs.State, knobs.Text = "uneasy", fmt.Sprintf("%s is %d and should be %d", k.Name, *k.Effective, *k.Desired)
		}
	}
	return []watch.Part{figures, knobs}
}

func annotations(s status.Snapshot) []watch.Part {
	switch a := s.Annotations; {
	case a == nil:
		return nil
	case a.Error != "":
		return []watch.Part{{Name: "Grafana", State: "bad", Text: fmt.Sprintf("%d annotations wait: %s", a.Pending, a.Error)}}
	}
	return []watch.Part{{Name: "Grafana", State: "good"}}
}

var errNotThere = errors.New("it is not there")

// now asks what only the page is told.
func (q *questions) now(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.address+path, nil)
	if err != nil {
		return fmt.Errorf("ask tuner: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask tuner: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("ask tuner: %w", err)
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("ask tuner for %s: %w", path, errNotThere)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("ask tuner at %s: want status 200 (got %s)", q.address, resp.Status)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read tuner's answer: %w", err)
	}
	return nil
}
