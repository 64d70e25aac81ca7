package schedule

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Shape names how the intended rate changes with time.
type Shape string

// The shapes. All but Closed are open: the times are fixed before the first record is sent.
const (
	Constant Shape = "constant" // Rate
	Ramp     Shape = "ramp"     // from Rate to To within Over, evenly; To from then on
	Steps    Shape = "steps"    // Stages one after the other
	Sine     Shape = "sine"     // Rate + Amplitude × sin(2πt / Period)
	Poisson  Shape = "poisson"  // independent arrivals, Rate on average
	Burst    Shape = "burst"    // Size records at once at the beginning of every Period, over Rate
	Closed   Shape = "closed"   // InFlight records under way: the next is intended when one of them has ended
)

// uses is which fields a shape uses, nil for what is no shape. Any other field must be left out.
func (s Shape) uses() []string {
	switch s {
	case Constant, Poisson:
		return []string{"rate"}
	case Ramp:
		return []string{"rate", "to", "over"}
	case Steps:
		return []string{"stages"}
	case Sine:
		return []string{"rate", "amplitude", "period"}
	case Burst:
		return []string{"rate", "size", "period"}
	case Closed:
		return []string{"in_flight"}
	}
	return nil
}

// MaxRate is the highest rate in records/s: one per nanosecond, which is as close as two intended times can be told apart.
const MaxRate = 1e9

// Config describes a whole schedule, however many senders share it. Times count from the schedule's origin.
type Config struct {
	Shape     Shape         `yaml:"shape"`
	Rate      float64       `yaml:"rate,omitempty"`      // records/s: constant, poisson; ramp: at the origin; sine: mean; burst: between the bursts, may be 0
	To        float64       `yaml:"to,omitempty"`        // ramp: records/s after Over
	Over      time.Duration `yaml:"over,omitempty"`      // ramp: how long it takes
	Stages    []Stage       `yaml:"stages,omitempty"`    // steps
	Amplitude float64       `yaml:"amplitude,omitempty"` // sine: records/s above and below the mean, at most the mean
	Period    time.Duration `yaml:"period,omitempty"`    // sine, burst
	Size      int           `yaml:"size,omitempty"`      // burst: records at once
	InFlight  int           `yaml:"in_flight,omitempty"` // closed: records sent and not yet acknowledged, over all shares
}

// Stage is a time of constant rate. The last stage may leave out its duration: then it holds for ever. If it has one, the first stage
// follows it and the whole begins anew.
type Stage struct {
	Rate     float64       `yaml:"rate"`               // records/s, may be 0
	Duration time.Duration `yaml:"duration,omitempty"` // above 0
}

// Validate reports every problem at once, each as `field: problem (got value)`.
func (c Config) Validate() error {
	uses := c.Shape.uses()
	if uses == nil {
		shapes := fmt.Sprint(Constant, ", ", Ramp, ", ", Steps, ", ", Sine, ", ", Poisson, ", ", Burst, ", ", Closed)
		return fmt.Errorf("shape: must be one of %s (got %q)", shapes, c.Shape)
	}
	errs := c.unused(uses)
	add := func(err error) { errs = append(errs, err) }
	switch c.Shape {
	case Constant, Poisson:
		add(between("rate", c.Rate, false, MaxRate))
	case Ramp:
		add(between("rate", c.Rate, true, MaxRate))
		add(between("to", c.To, true, MaxRate))
		if c.Rate == 0 && c.To == 0 {
			add(errors.New("to: must be above 0 when rate is 0, or nothing is ever sent (got 0)"))
		}
		add(positive("over", c.Over))
	case Steps:
		errs = append(errs, c.stages()...)
	case Sine:
		add(between("rate", c.Rate, false, MaxRate))
		if err := between("amplitude", c.Amplitude, false, MaxRate); err != nil {
			add(err)
		} else if c.Amplitude > c.Rate {
			add(fmt.Errorf("amplitude: must be at most the mean rate %v, for no rate is below 0 (got %v)", c.Rate, c.Amplitude))
		}
		add(positive("period", c.Period))
	case Burst:
		add(between("rate", c.Rate, true, MaxRate))
		if c.Size < 1 || c.Size > math.MaxInt32 {
			add(fmt.Errorf("size: must be 1 to %d records (got %d)", math.MaxInt32, c.Size))
		}
		if err := positive("period", c.Period); err != nil {
			add(err)
		} else if c.RateAt(0) > MaxRate {
			add(fmt.Errorf("period: must be long enough for at most %g records/s on average, rate included (got %v with a size of %d)", MaxRate, c.Period, c.Size))
		}
	case Closed:
		if c.InFlight < 1 || c.InFlight > math.MaxInt32 {
			add(fmt.Errorf("in_flight: must be 1 to %d records (got %d)", math.MaxInt32, c.InFlight))
		}
	}
	return errors.Join(errs...)
}

// unused refuses fields that were set and say nothing about the shape: whoever set them expects something else.
func (c Config) unused(uses []string) (errs []error) {
	for _, f := range []struct {
		name  string
		set   bool
		value any
	}{
		{"rate", c.Rate != 0, c.Rate},
		{"to", c.To != 0, c.To},
		{"over", c.Over != 0, c.Over},
		{"stages", len(c.Stages) > 0, fmt.Sprintf("%d of them", len(c.Stages))},
		{"amplitude", c.Amplitude != 0, c.Amplitude},
		{"period", c.Period != 0, c.Period},
		{"size", c.Size != 0, c.Size},
		{"in_flight", c.InFlight != 0, c.InFlight},
	} {
		if f.set && !slices.Contains(uses, f.name) {
			errs = append(errs, fmt.Errorf("%s: must be left out with shape %s, which uses %s (got %v)", f.name, c.Shape, strings.Join(uses, ", "), f.value))
		}
	}
	return errs
}

func (c Config) stages() (errs []error) {
	if len(c.Stages) == 0 {
		return []error{errors.New("stages: must be at least one rate with a duration (got none)")}
	}
	var total time.Duration
	sends := false
	for i, s := range c.Stages {
		name := fmt.Sprintf("stages[%d].", i)
		if err := between(name+"rate", s.Rate, true, MaxRate); err != nil {
			errs = append(errs, err)
		}
		sends = sends || s.Rate != 0
		last := i == len(c.Stages)-1
		switch {
		case s.Duration == 0 && last: // holds
		case s.Duration == 0:
			errs = append(errs, fmt.Errorf("%sduration: must be above 0; only the last stage may leave it out and hold (got 0s)", name))
		default:
			if err := positive(name+"duration", s.Duration); err != nil {
				errs = append(errs, err)
			}
		}
		if s.Duration > math.MaxInt64-total {
			errs = append(errs, fmt.Errorf("%sduration: must be short enough for all stages to last less than 292 years (got %v)", name, s.Duration))
		} else {
			total += max(s.Duration, 0)
		}
	}
	if !sends {
		errs = append(errs, errors.New("stages: must have a rate above 0 in at least one stage, or nothing is ever sent (got 0 in each)"))
	}
	return errs
}

// between checks a rate; zero says whether 0 is allowed.
func between(field string, rate float64, zero bool, most float64) error {
	if rate > 0 && rate <= most || zero && rate == 0 {
		return nil
	}
	from := "above 0"
	if zero {
		from = "0 or more"
	}
	return fmt.Errorf("%s: must be %s and at most %g records/s (got %v)", field, from, most, rate)
}

func positive(field string, d time.Duration) error {
	if d > 0 {
		return nil
	}
	return fmt.Errorf("%s: must be above 0 (got %v)", field, d)
}

// RateAt is the intended rate in records/s at t after the origin. A burst has none of its own: its records count evenly over the period.
// Before the origin the rate is 0, and so is that of a closed loop, which has no intention.
func (c Config) RateAt(t time.Duration) float64 {
	if t < 0 {
		return 0
	}
	switch c.Shape {
	case Constant, Poisson:
		return c.Rate
	case Ramp:
		part := min(float64(t)/float64(c.Over), 1)
		return c.Rate*(1-part) + c.To*part
	case Steps:
		return c.stage(t).Rate
	case Sine:
		return c.Rate + c.Amplitude*math.Sin(2*math.Pi*float64(t%c.Period)/float64(c.Period))
	case Burst:
		return c.Rate + float64(c.Size)/c.Period.Seconds()
	}
	return 0
}

// stage is the one that t falls into.
func (c Config) stage(t time.Duration) Stage {
	if whole := c.cycle(); whole > 0 {
		t %= whole
	}
	for _, s := range c.Stages {
		if s.Duration == 0 || t < s.Duration {
			return s
		}
		t -= s.Duration
	}
	return Stage{}
}

// cycle is how long the stages take when they repeat, 0 when the last one holds.
func (c Config) cycle() (whole time.Duration) {
	for _, s := range c.Stages {
		if s.Duration == 0 {
			return 0
		}
		whole += s.Duration
	}
	return whole
}

// Mean is the intended rate in records/s averaged over the first d after the origin, bursts as they fall. For d of 0 or less it is RateAt(0).
func (c Config) Mean(d time.Duration) float64 {
	if d <= 0 {
		return c.RateAt(0)
	}
	switch c.Shape {
	case Ramp:
		up := min(d, c.Over)
		average := (c.Rate + c.RateAt(up)) / 2
		return average*(float64(up)/float64(d)) + c.To*(float64(d-up)/float64(d))
	case Steps:
		return c.stepsMean(d)
	case Sine:
		angle := 2 * math.Pi * float64(d%c.Period) / float64(c.Period)
		return c.Rate + c.Amplitude*(1-math.Cos(angle))/(2*math.Pi)*(float64(c.Period)/float64(d))
	case Burst:
		bursts := (d-1)/c.Period + 1
		return c.Rate + float64(c.Size)*float64(bursts)/d.Seconds()
	}
	return c.RateAt(0)
}

func (c Config) stepsMean(d time.Duration) float64 {
	whole := c.cycle()
	var turns, rest time.Duration = 0, d
	if whole > 0 {
		turns, rest = d/whole, d%whole
	}
	var records float64
	for _, s := range c.Stages {
		in := min(rest, s.Duration)
		if s.Duration == 0 {
			in = rest
		}
		rest -= in
		records += s.Rate * (s.Duration.Seconds()*float64(turns) + in.Seconds())
	}
	return records / d.Seconds()
}
