package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kafkalab/kafkalab/internal/promql"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// Part is one component as the tuner sees it.
type Part struct {
	Name  string `json:"name"`
	State Health `json:"state"`
	Text  string `json:"text"`
}

// Health of a part.
type Health string

// The states of health. Unknown is neither good nor bad: nobody has looked yet.
const (
	Good    Health = "good"
	Uneasy  Health = "uneasy"
	Bad     Health = "bad"
	Unknown Health = "unknown"
)

// health is what the tuner itself can know of the parts around it.
func health(s status.Snapshot, ledger error) []Part {
	return []Part{prometheus(s), load(s), figures(s), broker(s), loop(s), records(s, ledger)}
}

// silent are the causes for which Prometheus itself is to blame, or the way to it.
var silent = []promql.Cause{
	promql.Unreachable, promql.Timeout, promql.ServerError, promql.Denied, promql.Credentials, promql.TLSFailed, promql.Throttled, promql.Redirected,
	promql.BadAnswer,
}

func prometheus(s status.Snapshot) Part {
	p := Part{Name: "Prometheus"}
	why := s.Live.Missing["p99"]
	cause, _, _ := strings.Cut(why, ":")
	switch {
	case slices.Contains(silent, promql.Cause(cause)):
		p.State, p.Text = Bad, why
	case s.Live.Age != nil && strings.HasPrefix(why, string(promql.Stale)):
		p.State, p.Text = Bad, why
	case s.Live.Age != nil:
		p.State, p.Text = Good, fmt.Sprintf("answers; its newest sample is %.1f s old", *s.Live.Age)
	case why != "":
		p.State, p.Text = Uneasy, why
	default:
		p.State, p.Text = Unknown, "not asked yet"
	}
	return p
}

func load(s status.Snapshot) Part {
	p := Part{Name: "Load"}
	switch l := s.Live; {
	case l.Acked == nil && l.Missing["acked"] != "":
		p.State, p.Text = Unknown, l.Missing["acked"]
	case l.Acked == nil:
		p.State, p.Text = Unknown, "not measured yet"
	case *l.Acked == 0:
		p.State, p.Text = Bad, "no record is acknowledged"
	case l.Errors != nil && *l.Errors > 0:
		p.State, p.Text = Uneasy, fmt.Sprintf("%.3g records/s fail", *l.Errors)
	case l.Offered != nil && *l.Acked < 0.95**l.Offered:
		p.State, p.Text = Uneasy, fmt.Sprintf("%.0f of %.0f offered records/s are acknowledged", *l.Acked, *l.Offered)
	default:
		p.State, p.Text = Good, "what is offered is acknowledged"
	}
	return p
}

func figures(s status.Snapshot) Part {
	p := Part{Name: "Figures", State: Good, Text: "all are there"}
	missing := slices.Sorted(maps.Keys(s.Live.Missing))
	switch {
	case len(missing) > 0:
		p.State, p.Text = Uneasy, "missing: "+strings.Join(missing, ", ")
	case s.Live.P99 == nil:
		p.State, p.Text = Unknown, "not measured yet"
	}
	return p
}

func broker(s status.Snapshot) Part {
	p := Part{Name: "Kafka", State: Good, Text: "every value was read back and is as desired"}
	var unread, other []string
	for _, k := range s.Knobs {
		switch {
		case k.Effective == nil:
			unread = append(unread, k.Name)
		case k.Desired != nil && *k.Desired != *k.Effective:
			other = append(other, fmt.Sprintf("%s is %d and should be %d", k.Name, *k.Effective, *k.Desired))
		}
	}
	switch {
	case len(s.Knobs) == 0:
		p.State, p.Text = Unknown, "nothing to read back"
	case len(unread) > 0:
		p.State, p.Text = Bad, "cannot be read back now: "+strings.Join(unread, ", ")
	case len(other) > 0:
		p.State, p.Text = Uneasy, strings.Join(other, "; ")
	}
	return p
}

func loop(s status.Snapshot) Part {
	p := Part{Name: "Tuner", State: Good, Text: string(s.State)}
	if s.Reason != "" {
		p.Text += ": " + s.Reason
	}
	switch s.State {
	case status.Holding, status.Stopped:
		p.State = Bad
	case status.Paused, status.Standby:
		p.State = Uneasy
	case status.Starting:
		p.State = Unknown
	}
	return p
}

func records(s status.Snapshot, err error) Part {
	if err != nil {
		return Part{Name: "Ledger", State: Bad, Text: err.Error()}
	}
	return Part{Name: "Ledger", State: Good, Text: fmt.Sprintf("%d records, each on the disk", s.Ledger)}
}
