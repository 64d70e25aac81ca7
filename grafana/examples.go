package grafana

import "strings"

// Example is a PromQL expression in a text for people, and what the text says that it gives.
type Example struct{ Says, Expr string }

// Examples lists the expressions in the promql blocks of a Markdown text: each is one or more lines, below a comment that says what it gives.
func Examples(markdown string) []Example {
	var found []Example
	for i, part := range strings.Split(markdown, "```") {
		block, promql := strings.CutPrefix(part, "promql\n")
		if i%2 == 0 || !promql {
			continue
		}
		says, open := "", false
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			comment, isComment := strings.CutPrefix(line, "#")
			switch {
			case isComment:
				says, open = strings.TrimSpace(comment), false
			case line == "":
				says, open = "", false
			case open:
				found[len(found)-1].Expr += "\n" + line
			default:
				found, open = append(found, Example{says, line}), true
			}
		}
	}
	return found
}
