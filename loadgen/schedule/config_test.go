package schedule_test

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

func TestConfigIsReadFromYAML(t *testing.T) {
	for text, want := range map[string]schedule.Config{
		"{shape: constant, rate: 1000}":                                constant(1000),
		"{shape: ramp, rate: 10, to: 1e5, over: 2m}":                   {Shape: schedule.Ramp, Rate: 10, To: 1e5, Over: 2 * time.Minute},
		"{shape: sine, rate: 500, amplitude: 100, period: 1h}":         {Shape: schedule.Sine, Rate: 500, Amplitude: 100, Period: time.Hour},
		"{shape: poisson, rate: 0.5}":                                  {Shape: schedule.Poisson, Rate: 0.5},
		"{shape: burst, size: 500, period: 10s}":                       {Shape: schedule.Burst, Size: 500, Period: 10 * time.Second},
		"{shape: burst, rate: 20, size: 500, period: 10s}":             {Shape: schedule.Burst, Rate: 20, Size: 500, Period: 10 * time.Second},
		"{shape: closed, in_flight: 64}":                               {Shape: schedule.Closed, InFlight: 64},
		"{shape: steps, stages: [{rate: 0, duration: 5s}, {rate: 9}]}": stages(schedule.Stage{Duration: 5 * time.Second}, schedule.Stage{Rate: 9}),
	} {
		d := yaml.NewDecoder(strings.NewReader(text))
		d.KnownFields(true)
		var got schedule.Config
		if err := d.Decode(&got); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if err := got.Validate(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v (%v), want %+v", text, got, err, want)
		}
		again, err := yaml.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var back schedule.Config
		if err := yaml.NewDecoder(bytes.NewReader(again)).Decode(&back); err != nil || !reflect.DeepEqual(back, want) {
			t.Errorf("%s: written again it is %s, which is read as %+v (%v)", text, again, back, err)
		}
	}
}

func TestEveryProblemOfAConfigIsReported(t *testing.T) {
	for name, c := range map[string]struct {
		config schedule.Config
		want   string
	}{
		"no shape":      {schedule.Config{Rate: 5}, `shape: must be one of constant, ramp, steps, sine, poisson, burst, closed (got "")`},
		"unknown shape": {schedule.Config{Shape: "saw"}, `shape: must be one of constant, ramp, steps, sine, poisson, burst, closed (got "saw")`},
		"no rate":       {schedule.Config{Shape: schedule.Constant}, "rate: must be above 0 and at most 1e+09 records/s (got 0)"},
		"negative rate": {constant(-5), "rate: must be above 0 and at most 1e+09 records/s (got -5)"},
		"rate that is no number": {
			schedule.Config{Shape: schedule.Poisson, Rate: math.NaN()}, "rate: must be above 0 and at most 1e+09 records/s (got NaN)",
		},
		"rate without bound": {constant(math.Inf(1)), "rate: must be above 0 and at most 1e+09 records/s (got +Inf)"},
		"fields of other shapes": {
			schedule.Config{Shape: schedule.Constant, Rate: 1, To: 2, Over: 3, Stages: []schedule.Stage{{}}, Amplitude: 4, Period: 5, Size: 6, InFlight: 7},
			"to: must be left out with shape constant, which uses rate (got 2)\n" +
				"over: must be left out with shape constant, which uses rate (got 3ns)\n" +
				"stages: must be left out with shape constant, which uses rate (got 1 of them)\n" +
				"amplitude: must be left out with shape constant, which uses rate (got 4)\n" +
				"period: must be left out with shape constant, which uses rate (got 5ns)\n" +
				"size: must be left out with shape constant, which uses rate (got 6)\n" +
				"in_flight: must be left out with shape constant, which uses rate (got 7)",
		},
		"ramp of nothing": {
			schedule.Config{Shape: schedule.Ramp}, "to: must be above 0 when rate is 0, or nothing is ever sent (got 0)\nover: must be above 0 (got 0s)",
		},
		"ramp below zero": {
			schedule.Config{Shape: schedule.Ramp, Rate: -1, To: 2e9, Over: -time.Second},
			"rate: must be 0 or more and at most 1e+09 records/s (got -1)\nto: must be 0 or more and at most 1e+09 records/s (got 2e+09)\nover: must be above 0 (got -1s)",
		},
		"no stages": {stages(), "stages: must be at least one rate with a duration (got none)"},
		"stages that send nothing": {
			stages(schedule.Stage{Duration: time.Second}, schedule.Stage{}), "stages: must have a rate above 0 in at least one stage, or nothing is ever sent (got 0 in each)",
		},
		"stages with every fault": {
			stages(schedule.Stage{Rate: 1}, schedule.Stage{Rate: -1, Duration: -time.Second}, schedule.Stage{Rate: 1}),
			"stages[0].duration: must be above 0; only the last stage may leave it out and hold (got 0s)\n" +
				"stages[1].rate: must be 0 or more and at most 1e+09 records/s (got -1)\nstages[1].duration: must be above 0 (got -1s)",
		},
		"stages that outlast a Duration": {
			stages(schedule.Stage{Rate: 1, Duration: math.MaxInt64}, schedule.Stage{Rate: 1, Duration: 1}),
			"stages[1].duration: must be short enough for all stages to last less than 292 years (got 1ns)",
		},
		"sine below zero": {
			schedule.Config{Shape: schedule.Sine, Rate: 10, Amplitude: 11}, "amplitude: must be at most the mean rate 10, for no rate is below 0 (got 11)\nperiod: must be above 0 (got 0s)",
		},
		"sine without swing": {
			schedule.Config{Shape: schedule.Sine, Rate: 10, Period: 1}, "amplitude: must be above 0 and at most 1e+09 records/s (got 0)",
		},
		"burst of nothing": {
			schedule.Config{Shape: schedule.Burst, Rate: -1}, "rate: must be 0 or more and at most 1e+09 records/s (got -1)\nsize: must be 1 to 2147483647 records (got 0)\nperiod: must be above 0 (got 0s)",
		},
		"bursts that come too fast": {
			schedule.Config{Shape: schedule.Burst, Size: 1e6, Period: 10 * time.Microsecond},
			"period: must be long enough for at most 1e+09 records/s on average, rate included (got 10µs with a size of 1000000)",
		},
		"closed without records": {schedule.Config{Shape: schedule.Closed, InFlight: -1}, "in_flight: must be 1 to 2147483647 records (got -1)"},
		"closed with a rate": {
			schedule.Config{Shape: schedule.Closed, Rate: 5, InFlight: 1}, "rate: must be left out with shape closed, which uses in_flight (got 5)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.config.Validate()
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if _, err := schedule.New(c.config, 0, 0, 1, 0); err == nil {
				t.Error("New took it")
			}
		})
	}
}

func TestRateAndMean(t *testing.T) {
	const s = time.Second
	pause := stages(schedule.Stage{Rate: 10, Duration: 2 * s}, schedule.Stage{Duration: s}, schedule.Stage{Rate: 40})
	round := stages(schedule.Stage{Rate: 10, Duration: 2 * s}, schedule.Stage{Duration: s})
	for name, c := range map[string]struct {
		config     schedule.Config
		rate, mean map[time.Duration]float64
	}{
		"constant": {constant(7), map[time.Duration]float64{-1: 0, 0: 7, time.Hour: 7}, map[time.Duration]float64{-1: 7, 0: 7, s: 7}},
		"poisson":  {schedule.Config{Shape: schedule.Poisson, Rate: 7}, map[time.Duration]float64{-1: 0, 0: 7}, map[time.Duration]float64{s: 7}},
		"ramp": {
			schedule.Config{Shape: schedule.Ramp, Rate: 10, To: 30, Over: 10 * s},
			map[time.Duration]float64{-1: 0, 0: 10, 5 * s: 20, 10 * s: 30, time.Hour: 30},
			map[time.Duration]float64{0: 10, 5 * s: 15, 10 * s: 20, 20 * s: 25},
		},
		"steps": {
			pause,
			map[time.Duration]float64{-1: 0, 0: 10, 2*s - 1: 10, 2 * s: 0, 3*s - 1: 0, 3 * s: 40, time.Hour: 40},
			map[time.Duration]float64{0: 10, 2 * s: 10, 3 * s: 20.0 / 3, 4 * s: 15},
		},
		"steps in rounds": {
			round,
			map[time.Duration]float64{0: 10, 2 * s: 0, 3 * s: 10, 299 * s: 0, 300 * s: 10},
			map[time.Duration]float64{3 * s: 20.0 / 3, 300 * s: 20.0 / 3, 301 * s: 2010.0 / 301},
		},
		"sine": {
			schedule.Config{Shape: schedule.Sine, Rate: 10, Amplitude: 5, Period: 4 * s},
			map[time.Duration]float64{-1: 0, 0: 10, s: 15, 2 * s: 10, 3 * s: 5, 401 * s: 15},
			map[time.Duration]float64{0: 10, 4 * s: 10, 2 * s: 10 + 10/math.Pi, 402 * s: 10 + 10/math.Pi/201},
		},
		"burst": {
			schedule.Config{Shape: schedule.Burst, Rate: 10, Size: 6, Period: 2 * s},
			map[time.Duration]float64{-1: 0, 0: 13, s: 13},
			map[time.Duration]float64{0: 13, s: 16, 2 * s: 13, 3 * s: 14, 200 * s: 13},
		},
		"closed": {
			schedule.Config{Shape: schedule.Closed, InFlight: 3}, map[time.Duration]float64{-1: 0, 0: 0, s: 0}, map[time.Duration]float64{0: 0, s: 0},
		},
	} {
		for at, want := range c.rate {
			if got := c.config.RateAt(at); math.Abs(got-want) > 1e-12*want {
				t.Errorf("%s: got rate %v at %v, want %v", name, got, at, want)
			}
		}
		for over, want := range c.mean {
			if got := c.config.Mean(over); math.Abs(got-want) > 1e-12*want {
				t.Errorf("%s: got mean %v over %v, want %v", name, got, over, want)
			}
		}
	}
}

func TestMeanIsWhatIsOffered(t *testing.T) {
	for name, c := range fixed() {
		s := mustNew(t, c, 0, 0, 1)
		for _, d := range []time.Duration{ms, 333 * ms, time.Second, 7 * time.Second, 8 * time.Second, time.Minute, time.Hour} {
			got, want := float64(s.Due(d-1)), c.Mean(d)*d.Seconds()
			if math.Abs(got-want) > 1.001 {
				t.Errorf("%s: got %v records in %v, want %.2f by the mean rate", name, got, d, want)
			}
		}
	}
}
