package collector

import (
	"testing"
	"time"
)

// A week of a partition that grows all the time is up to 550 moments.
func TestWhatIsRememberedIsAsFarBackAsTheSlowestReaderNeeds(t *testing.T) {
	for name, tt := range map[string]struct {
		behind     time.Duration
		most       int
		remembered time.Duration
	}{
		"a reader that keeps up":        {10 * time.Second, 130, 10 * time.Minute},
		"a reader that is a day behind": {24 * time.Hour, 600, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			const step = 15 * time.Second
			var m memory
			now, end, most := time.Unix(1_700_000_000, 0), int64(0), 0
			for range 7 * 24 * time.Hour / step {
				now, end = now.Add(step), end+15
				m.observe(now, end)
				m.needs(tt.behind)
				most = max(most, m.Len())
			}
			if most > tt.most {
				t.Errorf("want at most %d moments, got %d", tt.most, most)
			}
			got, ok := m.Behind(now, end-int64(tt.remembered.Seconds()))
			if within := max(2*step, tt.remembered/20); !ok || (got-tt.remembered).Abs() > within {
				t.Errorf("want an age of %s, got %s, %v", tt.remembered, got, ok)
			}
		})
	}
}
