package exposition_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kafkalab/kafkalab/exporter/exposition"
)

var families = []exposition.Family{
	{Name: "zoo_animals", Kind: "gauge", Labels: []string{"kind", "cage"}, Help: `Animals, by "kind" \ cage` + "\nand more."},
	{Name: "zoo_area", Kind: "gauge", Labels: []string{"kind", "cage"}, Help: "Area."},
	{Name: "zoo_open", Kind: "gauge", Help: "1 if open."},
	{Name: "zoo_visits_total", Kind: "counter", Labels: []string{"gate"}, Help: `Visits at a "gate".`},
	{Name: "zoo_visits", Kind: "counter", Labels: []string{"gate"}, Help: "Without the suffix."},
	{Name: "ant_hills_total", Kind: "gauge", Labels: []string{"b", "a", "c"}, Help: ""},
	{Name: "unused", Kind: "gauge", Help: "No samples."},
}

// sample is what a page and a registry are both given.
type sample struct {
	family int
	value  float64
	labels []string
}

var formats = map[string]expfmt.Format{
	"text": expfmt.FmtText, "OpenMetrics 1.0": expfmt.FmtOpenMetrics_1_0_0, "OpenMetrics 0.0.1": expfmt.FmtOpenMetrics_0_0_1,
	"protobuf": expfmt.FmtProtoDelim, "protobuf as text": expfmt.FmtProtoText, "protobuf as compact text": expfmt.FmtProtoCompact,
	"text, dots escaped":       expfmt.FmtText + "; escaping=dots",
	"protobuf, UTF-8 allowed":  expfmt.FmtProtoDelim + "; escaping=allow-utf-8",
	"OpenMetrics, values":      expfmt.FmtOpenMetrics_1_0_0 + "; escaping=values",
	"text without any version": "text/plain",
}

// registered gives the samples to a pedantic registry: the first of each series, valid UTF-8.
type registered []sample

func (registered) Describe(chan<- *prometheus.Desc) {}

func (s registered) Collect(out chan<- prometheus.Metric) {
	seen := map[string]bool{}
	for _, s := range s {
		f, kind, labels := families[s.family], prometheus.GaugeValue, slices.Clone(s.labels)
		for i := range labels {
			labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
		}
		key := fmt.Sprintf("%d %q", s.family, labels)
		if seen[key] {
			continue
		}
		seen[key] = true
		if f.Kind == "counter" {
			kind = prometheus.CounterValue
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(f.Name, f.Help, f.Labels, nil), kind, s.value, labels...)
	}
}

// want is what expfmt makes of the samples, in the page's order: a registry sorts the series of a family by their labels' values.
func want(t *testing.T, samples []sample, format expfmt.Format) string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(registered(samples))
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	place := map[string]int{}
	for i, s := range samples {
		f := families[s.family]
		m := &dto.Metric{}
		for j, l := range f.Labels {
			value := strings.ToValidUTF8(s.labels[j], "\uFFFD")
			m.Label = append(m.Label, &dto.LabelPair{Name: &l, Value: &value})
		}
		if key := f.Name + series(m); place[key] == 0 {
			place[key] = i + 1
		}
	}
	var out bytes.Buffer
	enc := expfmt.NewEncoder(&out, format)
	for _, f := range all {
		slices.SortFunc(f.Metric, func(a, b *dto.Metric) int {
			return cmp.Compare(place[f.GetName()+series(a)], place[f.GetName()+series(b)])
		})
		if err := enc.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func series(m *dto.Metric) string {
	labels := map[string]string{}
	for _, l := range m.Label {
		labels[l.GetName()] = l.GetValue()
	}
	return fmt.Sprint(len(labels), fmt.Sprintf("%q", labels))
}

func page(t *testing.T) *exposition.Page {
	t.Helper()
	p, err := exposition.New(families)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, p *exposition.Page, samples []sample, format expfmt.Format) string {
	t.Helper()
	p.Begin(format)
	for _, s := range samples {
		p.Add(families[s.family].Name, s.value, s.labels...)
	}
	var out bytes.Buffer
	if n, err := p.WriteTo(&out); err != nil || n != int64(out.Len()) {
		t.Fatalf("want %d bytes written, got %d and %v", out.Len(), n, err)
	}
	return out.String()
}

// same compares two outputs; the text forms of protobuf have blanks at random.
func same(t *testing.T, format expfmt.Format, got, want string) {
	t.Helper()
	if typ := format.FormatType(); typ == expfmt.TypeProtoText || typ == expfmt.TypeProtoCompact {
		got, want = strings.Join(strings.Fields(got), " "), strings.Join(strings.Fields(want), " ")
	}
	if got != want {
		t.Errorf("%s: want\n%s\ngot\n%s", format, want, got)
	}
}

var numbers = []float64{
	0, 1, -1, math.Copysign(0, -1), 2, -7, 0.1, -0.25, 999999, 1e6, 1e6 + 1, 1234567, 123456789012, 1 << 53, 1e21, 1e-5, 604800000, -1e6, -999999.5,
	math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64,
}

// hostile are values of labels that have broken parsers.
var hostile = []string{
	"", "a", "b", `"`, `\`, "\n", `\n`, `a"b\c` + "\nd", "ä€😀", "\xff", "a\xfeb\xfe", "{}", `a="b",`, "\x00", "\r", "#", " ", strings.Repeat("x", 300), "\u2028", "\ufeff",
}

func TestAPageIsWhatARegistryAndExpfmtMakeOfTheSameSamples(t *testing.T) {
	p := page(t) // one for all: nothing of the one before may be left
	for name, format := range formats {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			for range 50 {
				var samples []sample
				for range random.IntN(100) {
					s := sample{family: random.IntN(6), value: numbers[random.IntN(len(numbers))]}
					for range families[s.family].Labels {
						s.labels = append(s.labels, hostile[random.IntN(len(hostile))])
					}
					samples = append(samples, s)
				}
				same(t, format, write(t, p, samples, format), want(t, samples, format))
			}
		})
	}
}

func TestTheFirstSampleOfASeriesIsShown(t *testing.T) {
	p := page(t)
	got := write(t, p, []sample{
		{0, 1, []string{"ape", "x"}}, {1, 2, []string{"ape", "x"}}, {0, 3, []string{"ape", "x"}},
		{0, 4, []string{"bee", "y"}}, {1, 5, []string{"ape", "x"}}, {0, 6, []string{"ape", "x"}}, {0, 7, []string{"ape\xff", ""}}, {0, 8, []string{"ape\xfe", ""}},
	}, expfmt.FmtText)
	var lines []string
	for line := range strings.Lines(got) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	want := []string{`zoo_animals{cage="x",kind="ape"} 1`, `zoo_animals{cage="y",kind="bee"} 4`, "zoo_animals{cage=\"\",kind=\"ape\uFFFD\"} 7", `zoo_area{cage="x",kind="ape"} 2`}
	if !slices.Equal(lines, want) {
		t.Errorf("want %q, got %q", want, lines)
	}
}

func TestSharedLabelsAreThoseOfAllFamilies(t *testing.T) {
	p, err := exposition.New(slices.Concat(families, families), "cluster") // those of one cluster, those of the other
	if err != nil {
		t.Fatal(err)
	}
	p.Begin(expfmt.FmtText)
	for _, cluster := range []string{"one", "two"} {
		p.Share(cluster)
		p.Add("zoo_visits_total", 2, "north") // the same labels for both but for the shared one
	}
	var out strings.Builder
	if _, err := p.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	want := `# HELP zoo_visits_total Visits at a "gate".
# TYPE zoo_visits_total counter
zoo_visits_total{cluster="one",gate="north"} 2
zoo_visits_total{cluster="two",gate="north"} 2
`
	if out.String() != want {
		t.Errorf("want\n%s\ngot\n%s", want, out.String())
	}
}

func TestBadFamiliesAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		families []exposition.Family
		shared   []string
		want     string
	}{
		"a name with a dot":         {[]exposition.Family{{Name: "a.b", Kind: "gauge"}}, nil, `family "a.b": want a name`},
		"no name":                   {[]exposition.Family{{Kind: "gauge"}}, nil, `family "": want a name`},
		"a histogram":               {[]exposition.Family{{Name: "a", Kind: "histogram"}}, nil, `family a: kind: want gauge or counter (got "histogram")`},
		"the same label twice":      {[]exposition.Family{{Name: "a", Kind: "gauge", Labels: []string{"x", "x"}}}, nil, `family a: label "x"`},
		"a label that is shared":    {[]exposition.Family{{Name: "a", Kind: "gauge", Labels: []string{"x"}}}, []string{"x"}, `family a: label "x"`},
		"a label with a dash":       {[]exposition.Family{{Name: "a", Kind: "gauge", Labels: []string{"x-y"}}}, nil, `family a: label "x-y"`},
		"other labels":              {[]exposition.Family{{Name: "a", Kind: "gauge"}, {Name: "a", Kind: "gauge", Labels: []string{"x"}}}, nil, `family a: want one kind, help and`},
		"another kind":              {[]exposition.Family{{Name: "a", Kind: "gauge"}, {Name: "a", Kind: "counter"}}, nil, `family a: want one kind, help and`},
		"another help":              {[]exposition.Family{{Name: "a", Kind: "gauge"}, {Name: "a", Kind: "gauge", Help: "x"}}, nil, `family a: want one kind, help and`},
		"two mistakes: both are in": {[]exposition.Family{{Name: "a", Kind: "x"}, {Name: "b-", Kind: "gauge"}}, nil, `family "b-"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exposition.NewPages(tt.families, tt.shared...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want an error with %q, got %v", tt.want, err)
			}
		})
	}
}

func FuzzAPageIsWhatARegistryAndExpfmtMakeOfTheSameSamples(f *testing.F) {
	for i := range hostile {
		f.Add(hostile[i], hostile[(i+1)%len(hostile)], hostile[(i+5)%len(hostile)], numbers[i], numbers[(i+7)%len(numbers)])
	}
	f.Fuzz(func(t *testing.T, a, b, c string, v, w float64) {
		samples := []sample{
			{0, v, []string{a, b}}, {1, w, []string{a, b}}, {0, w, []string{b, c}}, {2, v, nil}, {3, v, []string{c}}, {4, w, []string{c}}, {5, v, []string{a, b, c}}, {0, v, []string{a, b}},
		}
		p := page(t)
		for _, format := range formats {
			same(t, format, write(t, p, samples, format), want(t, samples, format))
		}
		parser := expfmt.NewTextParser(model.LegacyValidation)
		read, err := parser.TextToMetricFamilies(strings.NewReader(write(t, p, samples, expfmt.FmtText)))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, l := range read["ant_hills_total"].GetMetric()[0].Label {
			got[l.GetName()] = l.GetValue()
		}
		for name, sent := range map[string]string{"b": a, "a": b, "c": c} {
			if want := strings.ToValidUTF8(sent, "\uFFFD"); got[name] != want {
				t.Errorf("label %s: want %q read, got %q", name, want, got[name])
			}
		}
	})
}
