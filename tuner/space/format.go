package space

import (
	"fmt"
	"regexp"
	"strings"
)

// Render is the variable's text for v.
func (k Knob) Render(v int64) string {
	return strings.ReplaceAll(k.Format, Placeholder, k.Text(v))
}

// Parse is the value in a variable's text. A text of another form, or one whose placeholders hold different values, is refused: nothing is
// known about its meaning then.
func (k Knob) Parse(text string) (int64, error) {
	form := regexp.QuoteMeta(strings.Join(strings.Fields(k.Format), " "))
	pattern := strings.ReplaceAll(form, regexp.QuoteMeta(Placeholder), "("+k.pattern()+")")
	found := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(strings.Join(strings.Fields(text), " "))
	if found == nil {
		return 0, fmt.Errorf("%s: want the form %q (got %q)", k.Env, k.Format, text)
	}
	for _, other := range found[2:] {
		if other != found[1] {
			return 0, fmt.Errorf("%s: want one value in every place of %q (got %q)", k.Env, k.Format, text)
		}
	}
	return k.Value(found[1])
}

// Setting is the broker's setting that a variable of Kafka's own image stands for: num.io.threads for KAFKA_NUM_IO_THREADS.
func Setting(variable string) string {
	name := strings.ToLower(strings.TrimPrefix(variable, "KAFKA_"))
	return strings.NewReplacer("___", "-", "__", "_", "_", ".").Replace(name)
}

// pattern is what a value may look like; a sign only where a special value has one.
func (k Knob) pattern() string {
	alternatives := []string{`\d{1,18}`}
	switch k.Type {
	case Float:
		alternatives = []string{`\d{1,15}(?:\.\d{1,15})?`}
	case Bool:
		alternatives = []string{"true", "false"}
	case Categorical:
		alternatives = nil
		for _, c := range k.Choices {
			alternatives = append(alternatives, regexp.QuoteMeta(c))
		}
	}
	for _, v := range k.Special {
		alternatives = append(alternatives, regexp.QuoteMeta(k.Text(v)))
	}
	return strings.Join(alternatives, "|")
}
