package clusters

import (
	"testing"
	"time"
)

func TestACollectionMayTakeWhatTheScrapeAllows(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		want   time.Duration
	}{
		"less half a second to answer in":       {"5", 4500 * time.Millisecond},
		"or a fifth of a short time":            {"1", 800 * time.Millisecond},
		"a fraction":                            {"0.5", 400 * time.Millisecond},
		"never more than the limit":             {"15", 10 * time.Second},
		"the limit, when there is no header":    {"", 10 * time.Second},
		"the limit, when it is no number":       {"soon", 10 * time.Second},
		"the limit, when it is not a number":    {"NaN", 10 * time.Second},
		"the limit, when it is beyond all time": {"1e300", 10 * time.Second},
		"the limit, when it is infinite":        {"Inf", 10 * time.Second},
		"the limit, when it is in the past":     {"-1", 10 * time.Second},
		"the limit, when it is nothing":         {"0", 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := scrapeTime(c.header, 10*time.Second); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func FuzzScrapeTime(f *testing.F) {
	for _, header := range []string{"", "10", "0.5", "-1", "1e300", "NaN", "Inf", "0x1p-2", "1_0", " 5", "5s", "\x00", "１０", "1e-320"} {
		f.Add(header, int64(10*time.Second))
	}
	f.Fuzz(func(t *testing.T, header string, limit int64) {
		if limit <= 0 {
			return
		}
		if got := scrapeTime(header, time.Duration(limit)); got < 0 || got > time.Duration(limit) {
			t.Errorf("%q: got %s, want within 0s..%s", header, got, time.Duration(limit))
		}
	})
}
