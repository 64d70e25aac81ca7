package space

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Limit is a linear constraint between knobs and what the pod has: Σ factor × value ≤ Max.
type Limit struct {
	Text  string
	Terms []Term
	Max   float64
}

// Term is a factor times a knob's value in the knob's unit, or times what the pod has.
type Term struct {
	Name   string // of a knob, or PodMemory, PodCPUs
	Factor float64
}

// What a limit may name of the pod.
const (
	PodMemory = "pod.memory" // MiB
	PodCPUs   = "pod.cpus"   // cores
)

var (
	termForm  = regexp.MustCompile(`^([+-]?)\s*(?:(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(?:\*\s*)?)?([A-Za-z_][A-Za-z0-9_.-]*)?$`)
	termSplit = regexp.MustCompile(`\s+[+-]\s+|^\s*-`)
)

// ParseLimit reads a text like `heap + 64*io_threads <= 0.75*pod.memory - 256`, with blanks around + and -. What its names may be is checked by Space.Validate.
func ParseLimit(text string) (Limit, error) {
	l := Limit{Text: strings.TrimSpace(text)}
	sides := strings.Split(text, "<=")
	sign := 1.0
	if len(sides) != 2 {
		sides, sign = strings.Split(text, ">="), -1
	}
	if len(sides) != 2 {
		return l, fmt.Errorf("want a sum of knobs, then <= or >=, then a sum (got %q)", text)
	}
	for i, side := range sides {
		if err := l.add(side, sign*[]float64{1, -1}[i]); err != nil {
			return l, fmt.Errorf("%w (in %q)", err, text)
		}
	}
	l.Terms = slices.DeleteFunc(l.Terms, func(t Term) bool { return t.Factor == 0 })
	return l, nil
}

func (l *Limit) add(side string, sign float64) error {
	at := 0
	var parts []string
	for _, cut := range termSplit.FindAllStringIndex(side, -1) {
		parts = append(parts, side[at:cut[0]])
		at = cut[0]
	}
	parts = append(parts, side[at:])
	for _, part := range parts {
		part = strings.TrimSpace(part)
		if part == "" && len(parts) > 1 {
			continue
		}
		m := termForm.FindStringSubmatch(part)
		if m == nil || m[2] == "" && m[3] == "" {
			return fmt.Errorf("want factor*name, name or a number (got %q)", part)
		}
		factor := sign
		if m[1] == "-" {
			factor = -sign
		}
		if m[2] != "" {
			number, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				return fmt.Errorf("want a number (got %q)", m[2])
			}
			factor *= number
		}
		if m[3] == "" {
			l.Max -= factor
			continue
		}
		if i := slices.IndexFunc(l.Terms, func(t Term) bool { return t.Name == m[3] }); i >= 0 {
			l.Terms[i].Factor += factor
			continue
		}
		l.Terms = append(l.Terms, Term{Name: m[3], Factor: factor})
	}
	return nil
}

// Check says why p breaks the limit.
func (l Limit) Check(s Space, p Point, pod Pod) error {
	if l.holds(s, p, pod) {
		return nil
	}
	return fmt.Errorf("%s: does not hold (got %s)", l.Text, p.Key())
}

// holds takes what is not known of the pod for no limit: what it names cannot be checked then.
func (l Limit) holds(s Space, p Point, pod Pod) bool {
	sum := 0.0
	for _, t := range l.Terms {
		switch t.Name {
		case PodMemory:
			if pod.Memory == 0 {
				return true
			}
			sum += t.Factor * float64(pod.Memory) / (1 << 20)
		case PodCPUs:
			if pod.CPUs == 0 {
				return true
			}
			sum += t.Factor * pod.CPUs
		default:
			k, _ := s.Knob(t.Name)
			if !s.Active(k, p) || slices.Contains(k.Special, p[t.Name]) {
				continue // it stands for no amount
			}
			sum += t.Factor * k.Float(p[t.Name])
		}
	}
	return sum <= l.Max+1e-9*max(1, math.Abs(l.Max))
}
