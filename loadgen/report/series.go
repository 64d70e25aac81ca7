package report

import (
	"slices"

	"github.com/kafkalab/kafkalab/loadgen/hist"
)

// MaxPoints is how many points a series has at most: an hour by the second.
const MaxPoints = 3600

// Series is how a run went over time. Its zero value is empty. It never grows beyond MaxPoints: when it would, two neighbours become one, and
// nothing of them is lost but the time between them.
type Series struct {
	Step   int64   `json:"step_seconds"` // a power of two
	Points []Point `json:"points"`       // by time; a step in which nothing was noted has none
}

// Point is what happened in one step. Counts are of that step, whatever phase the records belong to.
type Point struct {
	At       int64       `json:"at"`      // Unix time of its beginning, a multiple of the step
	Seconds  float64     `json:"seconds"` // of it that were noted: less than the step at both ends of a run
	Target   float64     `json:"target"`  // records that the schedule's rate asks for
	Offered  uint64      `json:"offered"` // records whose intended send time came
	Sent     uint64      `json:"sent"`    // handed to the client
	Acked    uint64      `json:"acked"`
	Failed   uint64      `json:"failed"`
	Consumed uint64      `json:"consumed"`
	InFlight uint64      `json:"in_flight"`       // the most at once
	Limited  float64     `json:"limited_seconds"` // in which a generator was late by itself
	Response hist.Packed `json:"response"`
	EndToEnd hist.Packed `json:"end_to_end"`
}

// Add notes a second that has passed. Seconds come in order of time; one that is noted twice is added up.
func (s *Series) Add(p Point) {
	if s.Step == 0 {
		s.Step = 1
	}
	s.put(p)
	for len(s.Points) > MaxPoints {
		s.coarsen(2 * s.Step)
	}
}

func (s *Series) put(p Point) {
	p.At -= mod(p.At, s.Step)
	if n := len(s.Points); n > 0 && s.Points[n-1].At == p.At {
		s.Points[n-1].then(p)
		return
	}
	s.Points = append(s.Points, p)
}

func mod(at, step int64) int64 { return ((at % step) + step) % step }

func (s *Series) coarsen(step int64) {
	old := s.Points
	s.Step, s.Points = step, s.Points[:0]
	for _, p := range old {
		s.put(p)
	}
	clear(old[len(s.Points):]) // their histograms are garbage now
}

// then adds what the same process did later in the step.
func (p *Point) then(o Point) {
	p.Seconds += o.Seconds
	p.InFlight = max(p.InFlight, o.InFlight)
	p.sum(o)
}

// beside adds what another process did in the same step.
func (p *Point) beside(o Point) {
	p.Seconds = max(p.Seconds, o.Seconds)
	p.InFlight += o.InFlight
	p.sum(o)
}

func (p *Point) sum(o Point) {
	p.Target += o.Target
	p.Offered += o.Offered
	p.Sent += o.Sent
	p.Acked += o.Acked
	p.Failed += o.Failed
	p.Consumed += o.Consumed
	p.Limited += o.Limited
	p.Response = p.Response.Plus(o.Response)
	p.EndToEnd = p.EndToEnd.Plus(o.EndToEnd)
}

// merge is the series of two processes, by the clock on the wall.
func (s Series) merge(o Series) Series {
	step := max(s.Step, o.Step)
	a, b := s.clone(step), o.clone(step)
	out := Series{Step: step}
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].At < b[0].At:
			out.Points, a = append(out.Points, a[0]), a[1:]
		case len(a) == 0 || b[0].At < a[0].At:
			out.Points, b = append(out.Points, b[0]), b[1:]
		default:
			p := a[0]
			p.beside(b[0])
			out.Points, a, b = append(out.Points, p), a[1:], b[1:]
		}
	}
	for len(out.Points) > MaxPoints {
		out.coarsen(2 * out.Step)
	}
	return out
}

func (s Series) clone(step int64) []Point {
	c := Series{Step: s.Step, Points: slices.Clone(s.Points)}
	if step > c.Step {
		c.coarsen(step)
	}
	return c.Points
}

// sum is the response of all points together.
func sum(points []Point) *hist.Snapshot {
	all := &hist.Snapshot{}
	for _, p := range points {
		all.MergePacked(p.Response)
	}
	return all
}
