package space

import (
	"fmt"
	"slices"
	"strings"
)

// Render is the variable's text for v.
func (k Knob) Render(v int64) string {
	return strings.ReplaceAll(k.Format, Placeholder, k.Text(v))
}

// Parse is the value in a variable's text. A text of another form, or one whose placeholders hold different values, is refused: nothing is
// known about its meaning then.
func (k Knob) Parse(text string) (int64, error) {
	refused := fmt.Errorf("%s: want the form %q (got %q)", k.Env, k.Format, text)
	parts := strings.Split(strings.Join(strings.Fields(k.Format), " "), Placeholder)
	rest, ok := strings.CutPrefix(strings.Join(strings.Fields(text), " "), parts[0])
	if !ok || len(parts) == 1 {
		return 0, refused
	}
	var found []string
	for _, next := range parts[1 : len(parts)-1] {
		value, more, ok := strings.Cut(rest, next)
		if !ok {
			return 0, refused
		}
		found, rest = append(found, value), more
	}
	value, ok := strings.CutSuffix(rest, parts[len(parts)-1])
	if !ok {
		return 0, refused
	}
	for _, v := range append(found, value) {
		if !k.looksLike(v) {
			return 0, refused
		}
	}
	for _, v := range found {
		if v != value {
			return 0, fmt.Errorf("%s: want one value in every place of %q (got %q)", k.Env, k.Format, text)
		}
	}
	return k.Value(value)
}

// Setting is the broker's setting that a variable of Kafka's own image stands for: num.io.threads for KAFKA_NUM_IO_THREADS.
func Setting(variable string) string {
	name := strings.ToLower(strings.TrimPrefix(variable, "KAFKA_"))
	return strings.NewReplacer("___", "-", "__", "_", "_", ".").Replace(name)
}

// looksLike says whether a text may be a value; a sign only where a special value has one.
func (k Knob) looksLike(text string) bool {
	if slices.ContainsFunc(k.Special, func(v int64) bool { return k.Text(v) == text }) {
		return true
	}
	digits := func(s string, most int) bool {
		return len(s) > 0 && len(s) <= most && strings.Trim(s, "0123456789") == ""
	}
	switch k.Type {
	case Float:
		whole, fraction, point := strings.Cut(text, ".")
		return digits(whole, 15) && (!point || digits(fraction, 15))
	case Bool:
		return text == "true" || text == "false"
	case Categorical:
		return slices.Contains(k.Choices, text)
	}
	return digits(text, 18)
}
