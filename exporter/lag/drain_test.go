package lag_test

import (
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/exporter/lag"
)

func TestTheTimeToDrainFollowsFromHowTheLagFell(t *testing.T) {
	for name, c := range map[string]struct {
		lags []int64 // every 30 s
		want time.Duration
		ok   bool
	}{
		"nothing seen":                  {nil, 0, false},
		"seen once":                     {[]int64{100}, 0, false},
		"no lag":                        {[]int64{0}, 0, true},
		"it falls":                      {[]int64{1000, 900, 800}, 4 * time.Minute, true},
		"it stays":                      {[]int64{1000, 1000}, 0, false},
		"it grows":                      {[]int64{900, 1000}, 0, false},
		"it grew long ago":              {[]int64{0, 0, 0, 5000, 4900, 4800, 4700, 4600, 4500, 4400, 4300, 4200, 4100, 4000}, 20 * time.Minute, true},
		"gone after it fell":            {[]int64{1000, 0}, 0, true},
		"it fell, and what came is new": {[]int64{1000, 500, 750}, 3 * time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			var d lag.Drain
			for i, n := range c.lags {
				d.Observe(at(float64(30*i)), n)
			}
			if got, ok := d.Left(); got != c.want || ok != c.ok {
				t.Errorf("got %v, %v, want %v, %v", got, ok, c.want, c.ok)
			}
		})
	}
}
