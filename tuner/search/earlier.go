package search

import (
	"math"
	"slices"
)

// transferred are the trials of an earlier study as this one would have measured them: how good a configuration is compared with others may
// carry over when the amount itself does not, so values and bounds are scaled by what the two studies have in common. Trials that were since
// repeated are left out.
func (c Config) transferred(history []Trial) []Trial {
	if len(c.Earlier) == 0 {
		return nil
	}
	here := map[string]Trial{}
	for _, h := range history {
		here[h.Point.Key()] = h
	}
	value, bounds := []float64{}, make([][]float64, len(c.Bounds))
	for _, e := range c.Earlier {
		h, both := here[e.Point.Key()]
		if !both || h.Failed || e.Failed {
			continue
		}
		value = ratio(value, h.Value, e.Value)
		for i := range bounds {
			bounds[i] = ratio(bounds[i], h.Bounds[i], e.Bounds[i])
		}
	}
	by := middle(value)
	var out []Trial
	for _, e := range c.Earlier {
		if _, again := here[e.Point.Key()]; again || len(e.Bounds) != len(c.Bounds) {
			continue
		}
		e.Value *= by
		e.Bounds = slices.Clone(e.Bounds)
		for i := range e.Bounds {
			e.Bounds[i] *= middle(bounds[i])
		}
		out = append(out, e)
	}
	return out
}

func ratio(all []float64, now, then float64) []float64 {
	if r := now / then; r > 0 && !math.IsInf(r, 0) {
		return append(all, r)
	}
	return all
}

// middle is the median; 1 of nothing.
func middle(ratios []float64) float64 {
	if len(ratios) == 0 {
		return 1
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}
