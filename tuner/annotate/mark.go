package annotate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"slices"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/study"
)

const (
	common  = "kafkalab" // the tag of every annotation, to choose by in a dashboard
	tagSize = 100        // of a tag's name and of its value, in Grafana's database
	// Grafana refuses annotations whose tags, written as JSON, take more than 500 bytes, unless it is told otherwise.
	tagsSize = 500
)

// mark is the annotation that a change is meant to have.
type mark struct {
	key  string // of the tags the one that no other change of the ledger has
	from time.Time
	to   time.Time // zero: the trial runs
	text string
	tags []string
}

// marks are the changes that a ledger tells of, oldest first: trials whose change was attempted, and what others did.
func marks(s *study.Study, book, target string) []mark {
	var all []mark
	for _, t := range s.Trials {
		if t.Applied {
			all = append(all, ofTrial(t, book, target))
		}
	}
	for i := 0; i < len(s.Changes); {
		n := i + 1 // what one record tells of is one change, of however many knobs
		for n < len(s.Changes) && s.Changes[n].ID == s.Changes[i].ID {
			n++
		}
		if s.Changes[i].Outcome == study.OutsideDone {
			all = append(all, ofOthers(s.Changes[i:n], book, target))
		}
		i = n
	}
	slices.SortStableFunc(all, func(a, b mark) int { return a.from.Compare(b.from) })
	return all
}

func ofTrial(t study.Trial, book, target string) mark {
	m := mark{key: fmt.Sprintf("trial:%d", t.Number), from: t.AppliedAt, to: t.Ended}
	outcome := study.Attempted
	if t.Phase.Done() {
		outcome = cmp.Or(string(t.Outcome), string(t.Phase))
	}
	var steps, knobs []string
	for _, c := range t.Changes {
		steps, knobs = append(steps, step(c.Knob, c.OldText, c.NewText)), append(knobs, c.Knob)
	}
	text := fmt.Sprintf("%s in trial %d: %s", outcome, t.Number, strings.Join(steps, ", "))
	if t.Purpose == ledger.Scored {
		text = fmt.Sprintf("changed by %s, trial %d: %s: %s", t.By, t.Number, outcome, strings.Join(steps, ", "))
	}
	if t.Phase.Done() && t.Verdict != nil {
		text += fmt.Sprintf(", %+.1f %%", t.Verdict.Effect*100)
	}
	m.text, m.tags = written(text, t.Reason), tags(book, m.key, outcome, t.By, target, knobs)
	return m
}

func ofOthers(changes []study.Change, book, target string) mark {
	first := changes[0]
	m := mark{key: fmt.Sprintf("record:%d", first.ID), from: first.Time, to: first.Time}
	var steps, knobs []string
	for _, c := range changes {
		if c.Knob != "" {
			steps, knobs = append(steps, step(c.Knob, c.OldText, c.NewText)), append(knobs, c.Knob)
		}
	}
	text := "changed by " + first.Author
	if len(steps) > 0 {
		text += ": " + strings.Join(steps, ", ")
	}
	m.text, m.tags = written(text, first.Reason), tags(book, m.key, study.OutsideDone, first.Author, target, knobs)
	return m
}

func step(knob, old, new string) string { return fmt.Sprintf("%s %s → %s", knob, old, new) }

// written is the text as Grafana shows it, which is as HTML: reasons and values are other people's words.
func written(text, reason string) string {
	if reason != "" {
		text += "\n" + reason
	}
	return html.EscapeString(text)
}

// tags are what finds the annotation again and what people search by. As many knobs are named as there is room for.
func tags(book, key, outcome, author, target string, knobs []string) []string {
	all := []string{common, ledgerTag(book), key, tag("outcome", outcome), tag("author", author), tag("target", target)}
	size := 2
	for _, t := range all {
		size += len(t) + 3
	}
	for _, k := range knobs {
		t := tag("knob", k)
		if size += len(t) + 3; size > tagsSize {
			break
		}
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return all
}

func ledgerTag(book string) string { return tag("ledger", book) }

// tag is a name with a value, with nothing in it that Grafana would cut off: of what follows a second colon it keeps nothing.
func tag(name, value string) string {
	value = strings.TrimSpace(strings.ReplaceAll(value, ":", "."))
	if len(value) > tagSize {
		value = strings.ToValidUTF8(value[:tagSize], "")
	}
	if value == "" {
		value = "unknown"
	}
	return name + ":" + value
}

// name tells ledgers apart that write to the same Grafana: trial 4 of one is not trial 4 of the other. It follows from a ledger's first record, so
// that it stays what it is as long as the ledger does.
func name(target string, first ledger.Record) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%s", target, first.Time.UnixMilli(), first.Kind))
	return hex.EncodeToString(sum[:8])
}

// is tells whether an annotation that Grafana has says what the mark does.
func (m mark) is(a annotation) bool {
	return a.Time == m.begin() && a.TimeEnd == m.end() && a.Text == m.text && slices.Equal(slices.Sorted(slices.Values(a.Tags)), slices.Sorted(slices.Values(m.tags)))
}

func (m mark) begin() int64 { return m.from.UnixMilli() }

// end is the beginning as long as the trial runs: an annotation without an end has that one. Nor does it end earlier when the clock was put back: Grafana
// would take the end for the beginning.
func (m mark) end() int64 {
	if m.to.Before(m.from) {
		return m.begin()
	}
	return m.to.UnixMilli()
}

func (m mark) annotation() annotation {
	return annotation{Time: m.begin(), TimeEnd: m.end(), Text: m.text, Tags: m.tags}
}
