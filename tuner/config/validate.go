package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/internal/strict"
	"github.com/kafkalab/kafkalab/tuner/judge"
	"github.com/kafkalab/kafkalab/tuner/space"
)

// Scrapes is how many scrapes a window must hold: a rate needs two, and a scrape can be late at either end.
const Scrapes = 4

func (f File) validate(s *strict.Reader) {
	if f.Version != 1 {
		s.Addf("version", "want 1 (got %d)", f.Version)
	}
	switch f.Mode {
	case Observe, Recommend, Approve, Auto:
	default:
		s.Addf("mode", "want observe, recommend, approve or auto (got %q)", f.Mode)
	}
	f.Target.validate(s)
	f.Prometheus.validate(s, f.Guards)
	f.validateKnobs(s)
	f.Objective.validate(s)
	f.validateGuards(s)
	f.Windows.validate(s, f.Prometheus.ScrapeInterval, f.Objective.Alpha)
	f.Live.validate(s, f.Prometheus.ScrapeInterval)
	if a := f.Search.Algorithm; a != ByStep && a != ByGP {
		s.Addf("search.algorithm", "want %s or %s (got %q)", ByStep, ByGP, a)
	}
	atLeast(s, "budgets.trials", f.Budgets.Trials, 1)
	atLeast(s, "budgets.restarts", f.Budgets.Restarts, 2)
	between(s, "budgets.violation", f.Budgets.Violation, time.Second, 24*time.Hour)
	atLeast(s, "budgets.fruitless", f.Budgets.Fruitless, 1)
	between(s, "budgets.recheck", f.Budgets.Recheck, 0, 24*time.Hour)
	atLeast(s, "budgets.steps", f.Budgets.Steps, 0)
	ratio(s, "again.shift", f.Again.Shift, 0.05, 10)
	between(s, "again.rest", f.Again.Rest, time.Second, 24*time.Hour)
	between(s, "again.max_rest", f.Again.MaxRest, f.Again.Rest, 30*24*time.Hour)
	optionalLink(s, "links.prometheus", f.Links.Prometheus)
	optionalLink(s, "links.grafana", f.Links.Grafana)
	f.Grafana.validate(s)
}

func (t Target) validate(s *strict.Reader) {
	needed := map[string]string{"namespace": t.Namespace, "name": t.Name, "container": t.Container}
	switch t.Kind {
	case StatefulSet, Deployment:
	case Strimzi:
		delete(needed, "container")
		if t.Container != "" {
			s.Addf("target.container", "want none with kind %s, whose pods are the operator's (got %q)", Strimzi, t.Container)
		}
	default:
		s.Addf("target.kind", "want %s, %s or %s (got %q)", StatefulSet, Deployment, Strimzi, t.Kind)
	}
	for field, value := range needed {
		if value == "" {
			s.Addf("target."+field, `a name is needed (got "")`)
		}
	}
	if len(t.Bootstrap) == 0 {
		s.Addf("target.bootstrap", "want at least one host:port (got none)")
	}
	for i, b := range t.Bootstrap {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			s.Addf(fmt.Sprintf("target.bootstrap[%d]", i), "want host:port (got %q)", b)
		}
	}
	s.AddAll("target", t.Security().Validate())
	for i, address := range t.JVMMetrics {
		link(s, fmt.Sprintf("target.jvm_metrics[%d]", i), address)
	}
}

func (f File) validateKnobs(s *strict.Reader) {
	if len(f.Knobs) == 0 {
		s.Addf("knobs", "want at least one (got none)")
	}
	sp := f.space(func(field, problem string) {
		s.Add(field, problem)
		s.Fail(field) // nothing more is said of what could not be read
	})
	s.AddAll("", errors.Join(sp.Validate()...))
	variables := map[string]bool{}
	for i, k := range f.Knobs {
		path := fmt.Sprintf("knobs[%d]", i)
		s.AddAll(path, errors.Join(sp.Knobs[i].Validate()...))
		if variables[k.Env] {
			s.Addf(path+".env", "is another knob's already (got %q)", k.Env)
		}
		variables[k.Env] = true
		if f.Target.Kind == Strimzi {
			strimziKnob(s, path, k)
		}
		if k.ReadBack == "jvm-heap" && len(f.Target.JVMMetrics) == 0 {
			s.Addf("target.jvm_metrics", "want an address, since %s reads back from the JVM (got none)", path)
		}
	}
}

// The heap as Strimzi's resource has it, in two fields.
const (
	heapVariable = "KAFKA_HEAP_OPTS"
	heapFormat   = "-Xms{v}m -Xmx{v}m"
)

// strimziKnob checks that a knob is a field of Strimzi's resource: one of spec.kafka.config, named as the variable of Kafka's own image would be, or the
// heap in spec.kafka.jvmOptions.
func strimziKnob(s *strict.Reader, path string, k Knob) {
	format, source := space.Placeholder, string(space.BrokerConfig)+space.Setting(k.Env)
	switch {
	case k.Env == heapVariable:
		format, source = heapFormat, string(space.JVMHeap)
	case !strings.HasPrefix(k.Env, "KAFKA_"):
		s.Addf(path+".env", "want %s or KAFKA_ and a setting's name, as KAFKA_NUM_IO_THREADS, with kind %s (got %q)", heapVariable, Strimzi, k.Env)
		return
	}
	if k.Format != format {
		s.Addf(path+".format", "want %q for %s with kind %s (got %q)", format, k.Env, Strimzi, k.Format)
	}
	if k.ReadBack != source {
		s.Addf(path+".readback", "want %s for %s with kind %s (got %q)", source, k.Env, Strimzi, k.ReadBack)
	}
}

func (o Objective) validate(s *strict.Reader) {
	query(s, "objective.goodput", o.Goodput, true)
	query(s, "objective.p99", o.P99, true)
	between(s, "objective.slo", o.SLO, time.Millisecond, time.Hour)
	ratio(s, "objective.tolerance", o.Tolerance, 0, 1)
	ratio(s, "objective.margin", o.Margin, 0, 1)
	ratio(s, "objective.alpha", o.Alpha, 0.001, 0.5)
}

func (f File) validateGuards(s *strict.Reader) {
	names := map[string]bool{}
	for i, g := range f.Guards {
		path := fmt.Sprintf("guards[%d]", i)
		if g.Name == "" || names[g.Name] {
			s.Addf(path+".name", "want a name of its own (got %q)", g.Name)
		}
		names[g.Name] = true
		query(s, path+".query", g.Query, false)
		if g.Min == nil && g.Max == nil {
			s.Addf(path, "want min, max or both (got neither)")
		}
		if g.Min != nil && g.Max != nil && *g.Min > *g.Max {
			s.Addf(path+".min", "want at most max, which is %g (got %g)", *g.Max, *g.Min)
		}
		if g.Breach != BreachInconclusive && g.Breach != BreachWorse {
			s.Addf(path+".breach", "want %s or %s (got %q)", BreachInconclusive, BreachWorse, g.Breach)
		}
		between(s, path+".for", g.For, 0, time.Hour)
		between(s, path+".grace", g.Grace, 0, time.Hour)
	}
}

func (w Windows) validate(s *strict.Reader, scrape time.Duration, alpha float64) {
	between(s, "windows.preflight", w.Preflight, time.Second, time.Hour)
	between(s, "windows.rollout", w.Rollout, 10*time.Second, time.Hour)
	between(s, "windows.verify", w.Verify, time.Second, time.Hour)
	between(s, "windows.settle", w.Settle, 0, time.Hour)
	between(s, "windows.settle_limit", w.SettleLimit, max(w.Settle, time.Second), time.Hour)
	between(s, "windows.warmup", w.Warmup, 0, time.Hour)
	between(s, "windows.warmup_limit", w.WarmupLimit, w.Warmup, time.Hour)
	ratio(s, "windows.steady", w.Steady, 0.001, 1)
	between(s, "windows.window", w.Window, Scrapes*scrape, time.Hour)
	if alpha > 0 && w.Count < judge.MinWindows(alpha) {
		s.Addf("windows.count", "want at least %d, since with fewer no difference reaches the level %g (got %d)", judge.MinWindows(alpha), alpha, w.Count)
	}
	atMost(s, "windows.count", w.Count, 100)
	atLeast(s, "windows.extra", w.Extra, 0)
	atMost(s, "windows.extra", w.Extra, 100)
	between(s, "windows.max_age", w.MaxAge, w.Window*time.Duration(max(w.Count, 1)), 24*time.Hour)
}

func (l Live) validate(s *strict.Reader, scrape time.Duration) {
	between(s, "live.window", l.Window, Scrapes*scrape, time.Hour)
	between(s, "live.interval", l.Interval, 100*time.Millisecond, time.Minute)
	between(s, "live.freshness", l.Freshness, 2*scrape, time.Hour)
	query(s, "live.newest", l.Newest, false)
	for field, q := range map[string]string{
		"p50": l.P50, "p999": l.P999, "offered": l.Offered, "consumed": l.Consumed, "errors": l.Errors, "samples": l.Samples,
	} {
		query(s, "live."+field, q, true)
	}
}

// query checks what can be checked without a server; a window that is written out could not follow the trial.
func query(s *strict.Reader, path, q string, windowed bool) {
	switch {
	case strings.TrimSpace(q) == "":
		s.Addf(path, `want PromQL (got "")`)
	case windowed && !strings.Contains(q, "[$window]"):
		s.Addf(path, "want [$window] in it (got %q)", q)
	}
}

func between(s *strict.Reader, path string, got, low, high time.Duration) {
	if got < low || got > high {
		s.Addf(path, "want %s..%s (got %s)", low, high, got)
	}
}

func ratio(s *strict.Reader, path string, got, low, high float64) {
	if !(got >= low && got <= high) { // written so that NaN is refused
		s.Addf(path, "want %g..%g (got %g)", low, high, got)
	}
}

func atLeast(s *strict.Reader, path string, got, low int) {
	if got < low {
		s.Addf(path, "want at least %d (got %d)", low, got)
	}
}

func atMost(s *strict.Reader, path string, got, high int) {
	if got > high {
		s.Addf(path, "want at most %d (got %d)", high, got)
	}
}

func link(s *strict.Reader, path, address string) {
	if u, err := url.Parse(address); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		s.Addf(path, "want http://host:port/… or https://… (got %q)", address)
	}
}

func optionalLink(s *strict.Reader, path, address string) {
	if address != "" {
		link(s, path, address)
	}
}
