package schedule_test

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/schedule"
)

const (
	ms  = time.Millisecond
	day = 24 * time.Hour
)

func TestTimesOfTheFirstRecords(t *testing.T) {
	every := func(first, gap time.Duration, n int) (times []time.Duration) {
		for i := range n {
			times = append(times, first+time.Duration(i)*gap)
		}
		return times
	}
	for name, c := range map[string]struct {
		config schedule.Config
		end    time.Duration
		want   []time.Duration
	}{
		"constant":                  {constant(4), time.Second, every(0, 250*ms, 5)},
		"constant, slower than end": {constant(0.1), 15 * time.Second, every(0, 10*time.Second, 2)},
		"constant, gaps that are no whole nanoseconds": {constant(3e8), 10, []time.Duration{0, 3, 7, 10}},
		"constant, highest rate":                       {constant(1e9), 5, []time.Duration{0, 1, 2, 3, 4, 5}},
		"steps, each begins with a record": {
			stages(schedule.Stage{Rate: 2, Duration: time.Second}, schedule.Stage{Rate: 4}), 2 * time.Second,
			slices.Concat(every(0, 500*ms, 2), every(time.Second, 250*ms, 5)),
		},
		"steps, a pause first": {
			stages(schedule.Stage{Rate: 0, Duration: 3 * time.Second}, schedule.Stage{Rate: 1}), 5 * time.Second, every(3*time.Second, time.Second, 3),
		},
		"steps, a pause between: the record at its beginning waits for its end": {
			stages(schedule.Stage{Rate: 2, Duration: time.Second}, schedule.Stage{Rate: 0, Duration: time.Second}, schedule.Stage{Rate: 2}), 3 * time.Second,
			slices.Concat(every(0, 500*ms, 2), every(2*time.Second, 500*ms, 3)),
		},
		"steps, an interval goes on through a pause and another rate": {
			stages(schedule.Stage{Rate: 1, Duration: 1500 * ms}, schedule.Stage{Rate: 0, Duration: time.Second}, schedule.Stage{Rate: 2}), 4 * time.Second,
			[]time.Duration{0, time.Second, 2750 * ms, 3250 * ms, 3750 * ms},
		},
		"steps, nothing after the last": {
			stages(schedule.Stage{Rate: 2, Duration: time.Second}, schedule.Stage{Rate: 0}), day, every(0, 500*ms, 2),
		},
		"steps, a tenth of a record per second for ten seconds is one": {
			stages(schedule.Stage{Rate: 0.1, Duration: 10 * time.Second}, schedule.Stage{Rate: 0, Duration: 10 * time.Second}), time.Minute,
			every(0, 20*time.Second, 4),
		},
		"steps, anew and anew": {
			stages(schedule.Stage{Rate: 0, Duration: 500 * ms}, schedule.Stage{Rate: 4, Duration: 500 * ms}), 2 * time.Second,
			[]time.Duration{500 * ms, 750 * ms, 1500 * ms, 1750 * ms},
		},
		"steps, less than a record each round": {
			stages(schedule.Stage{Rate: 0.5, Duration: time.Second}, schedule.Stage{Rate: 0, Duration: time.Second}), 9 * time.Second,
			every(0, 4*time.Second, 3),
		},
		"steps, two rates and a fraction of a record over": {
			stages(schedule.Stage{Rate: 1.5, Duration: time.Second}, schedule.Stage{Rate: 3, Duration: time.Second / 2}), 3 * time.Second,
			[]time.Duration{0, 666666667, 1166666667, 1500 * ms, 2166666667, 2666666667, 3 * time.Second},
		},
		"ramp from nothing": {
			schedule.Config{Shape: schedule.Ramp, To: 8, Over: time.Second}, time.Second,
			[]time.Duration{0, 500 * ms, 707106781, 866025404, time.Second},
		},
		"ramp to nothing": {
			schedule.Config{Shape: schedule.Ramp, Rate: 8, Over: time.Second}, day,
			[]time.Duration{0, 133974596, 292893219, 500 * ms},
		},
		"ramp that is none": {
			schedule.Config{Shape: schedule.Ramp, Rate: 4, To: 4, Over: time.Second}, 2 * time.Second, every(0, 250*ms, 9),
		},
		"ramp, then holds": {
			schedule.Config{Shape: schedule.Ramp, Rate: 1, To: 3, Over: time.Second}, 2 * time.Second,
			[]time.Duration{0, 618033989, time.Second, 1333333333, 1666666667, 2 * time.Second},
		},
		"bursts alone": {
			schedule.Config{Shape: schedule.Burst, Size: 3, Period: time.Second}, 2 * time.Second,
			[]time.Duration{0, 0, 0, time.Second, time.Second, time.Second, 2 * time.Second, 2 * time.Second, 2 * time.Second},
		},
		"bursts over a rate": {
			schedule.Config{Shape: schedule.Burst, Rate: 2, Size: 2, Period: time.Second}, 1500 * ms,
			[]time.Duration{0, 0, 0, 500 * ms, time.Second, time.Second, time.Second, 1500 * ms},
		},
		"bursts over a rate of less than one each period": {
			schedule.Config{Shape: schedule.Burst, Rate: 0.4, Size: 1, Period: time.Second}, 5 * time.Second,
			[]time.Duration{0, 0, time.Second, 2 * time.Second, 2500 * ms, 3 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := until(t, mustNew(t, c.config, 0, 0, 1), c.end); !slices.Equal(got, c.want) {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
		})
	}
}

// decimal is what somebody meant who wrote f.
func decimal(f float64) *big.Rat {
	r, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
	return r
}

// exact is i/rate in nanoseconds; a half is rounded up.
func exact(i int, rate float64) time.Duration {
	r := new(big.Rat).Quo(big.NewRat(int64(i), 1), decimal(rate))
	r.Mul(r, big.NewRat(1e9, 1))
	r.Add(r, big.NewRat(1, 2))
	return time.Duration(new(big.Int).Div(r.Num(), r.Denom()).Int64())
}

func TestRecordIIsDueAtIOverRateToTheNanosecond(t *testing.T) {
	rates := []float64{1e-3, 0.1, 0.5, 1, 3, 7, 997, 1000, 1234.567, 44100, 99999, 1e5, 1e6 / 3, 1e8, 123456789.123, 1e9}
	for _, rate := range rates {
		for _, i := range []int{0, 1, 2, 3, 1000, 999999, 1e9, 1e9 + 1, 1e12 - 1, 1e12, 1e12 + 1, 1<<53 + 1, 9e18 + 1} {
			if float64(i)/rate > 9e9 {
				if got := record(t, constant(rate), i); float64(i)/rate > 9.3e9 && got != schedule.Never {
					t.Errorf("rate %v, record %d: got %v, want never within the reach of a Duration", rate, i, got)
				}
				continue
			}
			if got, want := record(t, constant(rate), i), exact(i, rate); got != want {
				t.Errorf("rate %v, record %d: got %d ns, want %d", rate, i, got, want)
			}
		}
	}
}

// From the 10¹⁵th round on a quotient of floats is off by one or more.
func TestRoundsAndBurstsAreRightHoweverMany(t *testing.T) {
	for _, from := range []int{0, 1e6, 1e9, 1e12, 1e15, 6e16} {
		for i := from; i < from+40; i++ {
			c := stages(schedule.Stage{Rate: 1e8, Duration: 23}, schedule.Stage{Duration: 7}) // 2.3 records in 30 ns
			k := i * 10 / 23
			if got, want := record(t, c, i), time.Duration(30*k+10*i-23*k); got != want {
				t.Errorf("steps, record %d in round %d: got %d ns, want %d", i, k, got, want)
			}
		}
		for tenths := 1; tenths < 10; tenths++ {
			c := schedule.Config{Shape: schedule.Burst, Rate: float64(tenths) * 1e6, Size: 1, Period: 100} // tenths of a record beside each burst of one
			for i := from; i < from+40; i++ {
				k := i * 10 / (10 + tenths)
				want := time.Duration(100 * k)
				if first := (k*(10+tenths) + 9) / 10; i > first {
					want = time.Duration(math.Round(float64((i-k-1)%tenths)*1000/float64(tenths))) + time.Duration((i-k-1)/tenths*1000)
				}
				if got := record(t, c, i); got != want {
					t.Errorf("%d tenths beside a burst, record %d in period %d: got %d ns, want %d", tenths, i, k, got, want)
				}
			}
		}
	}
}

func TestWhatIsBeyondTheReachOfADurationNeverComes(t *testing.T) {
	const reach = schedule.Never
	for name, c := range map[string]schedule.Config{
		"ramp over all of it":      {Shape: schedule.Ramp, Rate: 1, To: 2, Over: reach},
		"ramp down over all of it": {Shape: schedule.Ramp, Rate: 1, Over: reach},
		"a burst a year":           {Shape: schedule.Burst, Size: 2, Period: 365 * day},
		"a sine a year":            {Shape: schedule.Sine, Rate: 1, Amplitude: 1, Period: 365 * day},
		"stages of a year":         stages(schedule.Stage{Rate: 1, Duration: 365 * day}, schedule.Stage{Duration: 365 * day}),
	} {
		last := time.Duration(0)
		for i := 0; i < 1e11; i += 1 + i/20 {
			at := record(t, c, i)
			if at < last {
				t.Fatalf("%s, record %d: got %v, before an earlier one's %v", name, i, at, last)
			}
			last = at
		}
		if last != schedule.Never {
			t.Errorf("%s: got a last record at %v", name, last)
		}
	}
}

func TestLongRunsTakeOneByOneWhatTheFormulaSays(t *testing.T) {
	for _, rate := range []float64{7, 997, 1234.567, 44100} {
		s := mustNew(t, constant(rate), time.Second, 0, 1)
		for i := range 5000 {
			want := time.Second + exact(i, rate)
			if at, ok := s.Take(want); !ok || at != want {
				t.Fatalf("rate %v, record %d: got %v, %v when it was due at %v", rate, i, at, ok, want)
			}
		}
	}
}

func TestOfferedInEverySecondIsExact(t *testing.T) {
	for _, rate := range []float64{1000, 10000, 99999} {
		for _, from := range []time.Duration{0, 30 * day} {
			s := mustNew(t, constant(rate), -from, 0, 1)
			s.Skip(-1)
			for second := range 600 {
				issued := s.Skip(time.Duration(second+1)*time.Second - 1)
				if float64(issued) != rate {
					t.Fatalf("rate %v, second %d after %v: got %d records", rate, second, from, issued)
				}
			}
		}
	}
}

// integral is the number of records a shape comes to up to t, each by a formula of its own in 200 bits.
func integral(c schedule.Config, t *big.Float) *big.Float {
	num := func(f float64) *big.Float { return new(big.Float).SetPrec(200).SetRat(decimal(f)) }
	mul := func(a, b *big.Float) *big.Float { return num(0).Mul(a, b) }
	seconds := func(d time.Duration) *big.Float { return num(0).Quo(num(float64(d)), num(1e9)) }
	switch c.Shape {
	case schedule.Ramp:
		up := t
		if t.Cmp(seconds(c.Over)) > 0 {
			up = seconds(c.Over)
		}
		sum := mul(num(c.Rate), up)
		bend := num(0).Quo(num(0).Sub(num(c.To), num(c.Rate)), mul(num(2), seconds(c.Over)))
		sum.Add(sum, mul(bend, mul(up, up)))
		return sum.Add(sum, mul(num(c.To), num(0).Sub(t, up)))
	case schedule.Steps:
		round, records := num(0), num(0)
		for _, s := range c.Stages {
			round.Add(round, seconds(s.Duration))
			records.Add(records, mul(num(s.Rate), seconds(s.Duration)))
		}
		sum, left := num(0), num(0).Set(t)
		if c.Stages[len(c.Stages)-1].Duration > 0 {
			turns, _ := num(0).Quo(t, round).Int(nil)
			sum.Mul(records, num(0).SetInt(turns))
			left.Sub(left, mul(round, num(0).SetInt(turns)))
		}
		for _, s := range c.Stages {
			in := left
			if s.Duration > 0 && left.Cmp(seconds(s.Duration)) > 0 {
				in = seconds(s.Duration)
			}
			sum.Add(sum, mul(num(s.Rate), in))
			left = num(0).Sub(left, in)
		}
		return sum
	case schedule.Sine:
		turns, _ := num(0).Quo(t, seconds(c.Period)).Int(nil)
		rest, _ := num(0).Sub(t, mul(seconds(c.Period), num(0).SetInt(turns))).Float64()
		half := math.Sin(math.Pi * rest / c.Period.Seconds())
		return num(0).Add(mul(num(c.Rate), t), num(c.Amplitude*c.Period.Seconds()/math.Pi*half*half))
	}
	return mul(num(c.Rate), t)
}

func TestTimesAreTheInverseOfTheIntegral(t *testing.T) {
	for name, c := range map[string]schedule.Config{
		"sine":                         {Shape: schedule.Sine, Rate: 1000, Amplitude: 300, Period: time.Minute},
		"sine that touches zero":       {Shape: schedule.Sine, Rate: 1e6, Amplitude: 1e6, Period: time.Second},
		"sine slower than a day":       {Shape: schedule.Sine, Rate: 1e4, Amplitude: 9e3, Period: 2 * day},
		"sine of few records":          {Shape: schedule.Sine, Rate: 0.7, Amplitude: 0.69, Period: time.Second},
		"sine of a microsecond":        {Shape: schedule.Sine, Rate: 1e9, Amplitude: 1e9, Period: time.Microsecond},
		"ramp up":                      {Shape: schedule.Ramp, Rate: 100, To: 1e5, Over: time.Minute},
		"ramp up from nothing":         {Shape: schedule.Ramp, To: 1e6, Over: 10 * time.Minute},
		"ramp down":                    {Shape: schedule.Ramp, Rate: 1e5, To: 10, Over: time.Minute},
		"ramp down to nothing":         {Shape: schedule.Ramp, Rate: 1e8, Over: 20000 * time.Second},
		"ramp of days":                 {Shape: schedule.Ramp, Rate: 1e5, To: 3e6, Over: 7 * day},
		"ramp of a few milliseconds":   {Shape: schedule.Ramp, Rate: 1, To: 1e9, Over: 7 * ms},
		"ramp that hardly rises":       {Shape: schedule.Ramp, Rate: 1e6, To: 1e6 + 1e-3, Over: time.Hour},
		"steps that hold":              stages(schedule.Stage{Rate: 1234.5, Duration: 3 * time.Second}, schedule.Stage{Rate: 1e6, Duration: time.Minute}, schedule.Stage{Rate: 17}),
		"steps that repeat":            stages(schedule.Stage{Rate: 1e5, Duration: 777 * ms}, schedule.Stage{Rate: 0.3, Duration: 7 * time.Second}, schedule.Stage{Rate: 33, Duration: time.Minute}),
		"steps of a nanosecond":        stages(schedule.Stage{Rate: 1e9, Duration: 1}, schedule.Stage{Rate: 1, Duration: 2}),
		"steps with a pause in rounds": stages(schedule.Stage{Rate: 1e4, Duration: time.Second}, schedule.Stage{Duration: time.Hour}),
	} {
		t.Run(name, func(t *testing.T) {
			last := time.Duration(-1)
			for i := 0; i < 1e13; i += 1 + i/9 {
				at := record(t, c, i)
				if at < last {
					t.Fatalf("record %d: got %v, before the %v of an earlier one", i, at, last)
				}
				last = at
				if at > 400*day {
					break
				}
				// Half a nanosecond either way, as the time is rounded, and what floats leave of it after days of one ramp or period.
				slack := 0.5 + 4e-16*float64(min(at, max(c.Over, c.Period)))
				few := 1e-9 + 4e-16*(c.Rate+c.To)*max(c.Over, c.Period).Seconds()
				for _, side := range []float64{-slack, slack} {
					when := new(big.Float).SetPrec(200).SetInt64(int64(at))
					when.Add(when, big.NewFloat(side))
					when.Quo(when, big.NewFloat(1e9))
					if when.Sign() < 0 {
						continue
					}
					n := integral(c, when)
					if off, _ := n.Sub(n, new(big.Float).SetInt64(int64(i))).Float64(); off*side < 0 && math.Abs(off) > few {
						t.Fatalf("record %d: got %v, but the integral half a nanosecond beside is off by %v records", i, at, off)
					}
				}
			}
		})
	}
}
