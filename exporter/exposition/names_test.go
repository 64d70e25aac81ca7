package exposition_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// A client that wants a few families asks for them by name; the answer has them whether they are the page's or the registry's.
func TestAClientGetsTheFamiliesThatItAsksFor(t *testing.T) {
	both, _, _ := served(t)
	for name, tt := range map[string]struct {
		ask  []string
		want []string
	}{
		"nothing asked for":  {nil, []string{"own_seconds", "zoo_open", "zoo_visits_total"}},
		"one of the page":    {[]string{"zoo_open"}, []string{"zoo_open"}},
		"one of each":        {[]string{"own_seconds", "zoo_visits_total"}, []string{"own_seconds", "zoo_visits_total"}},
		"one twice":          {[]string{"zoo_open", "zoo_open"}, []string{"zoo_open"}},
		"none that there is": {[]string{"zoo"}, nil},
		"no name":            {[]string{""}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			both.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics?"+url.Values{"name[]": tt.ask}.Encode(), nil))
			var got []string
			for line := range strings.Lines(w.Body.String()) {
				if rest, is := strings.CutPrefix(line, "# TYPE "); is {
					family, _, _ := strings.Cut(rest, " ")
					got = append(got, family)
				} else if !strings.HasPrefix(line, "#") && !slices.ContainsFunc(tt.want, func(f string) bool { return strings.HasPrefix(line, f) }) {
					t.Errorf("got a sample that was not asked for: %s", line)
				}
			}
			slices.Sort(got)
			if w.Code != http.StatusOK || !slices.Equal(got, tt.want) {
				t.Errorf("want %q, got %d, %q", tt.want, w.Code, got)
			}
		})
	}
	// A page serves one scrape after another: the next one is whole again.
	if all := ask(t, both, "", "").Body.String(); strings.Count(all, "\nzoo_visits_total{") != 100 {
		t.Errorf("want all samples of the next scrape, got\n%s", all)
	}
}
