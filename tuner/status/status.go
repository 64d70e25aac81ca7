// Package status is what the tuner shows of itself: one snapshot, from which the status files, the API, the page and the metrics are made, so
// that they cannot disagree.
//
// It promises that a reader of the status files sees a whole file, old or new, at any moment, and that latency.txt is a figure of fresh data or N/A.
// What is not known is absent. It leaves out where the figures come from.
package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kafkalab/kafkalab/tuner/ledger"
)

// Schema of the JSON; a change that breaks a reader raises it.
const Schema = 1

// State is what the tuner as a whole is doing.
type State string

// The states.
const (
	Starting     State = "starting"
	Observing    State = "observing"    // mode observe: waits for what others do
	Baseline     State = "baseline"     // measures the incumbent
	Trialing     State = "trialing"     // a trial runs
	Holding      State = "holding"      // cannot go on; Reason says why, it tries again by itself
	Recommending State = "recommending" // mode recommend: has a proposal for people
	Awaiting     State = "awaiting"     // mode approve: a trial waits for its approval
	Paused       State = "paused"       // somebody paused it, or its switch is off; Reason says who and why
	Standby      State = "standby"      // another tuner holds the lease
	Done         State = "done"         // the search is over; watches
	Stopped      State = "stopped"
)

// States lists them.
func States() []State {
	return []State{Starting, Observing, Baseline, Trialing, Holding, Recommending, Awaiting, Paused, Standby, Done, Stopped}
}

// Snapshot is everything at one moment. Pointers are nil where a figure is not known.
type Snapshot struct {
	Schema  int       `json:"schema"`
	Time    time.Time `json:"timestamp"`
	Build   string    `json:"build"`
	Mode    string    `json:"mode"`
	State   State     `json:"state"`
	Reason  string    `json:"reason,omitempty"` // of the state
	Live    Live      `json:"live"`
	SLO     float64   `json:"slo_ms"`
	Knobs   []Knob    `json:"knobs"`
	Trial   *Trial    `json:"trial,omitempty"` // the running one
	Next    *Proposal `json:"recommendation,omitempty"`
	Goal    Goal      `json:"objective"`
	Trials  []Trial   `json:"trials"`
	Changes []Change  `json:"changes"`
	Ledger  int       `json:"ledger_entries"`
	Limits  Limits    `json:"limits"`
	Links   Links     `json:"links"`
	Budget  Budget    `json:"budget"`
	Pause   *Order    `json:"pause,omitempty"` // in force
	Queue   []Order   `json:"queue,omitempty"` // proposals of people and agents, to be tried next
	Term    int64     `json:"term,omitempty"`  // of the lease; absent when the tuner has none

	Annotations *Annotations `json:"annotations,omitempty"` // absent where none are written
	Contested   string       `json:"contested,omitempty"`   // who keeps putting back what the tuner has set or taken back
	Reference   *Reference   `json:"reference,omitempty"`   // absent: a change now would be compared with nothing, or with what is too old
}

// Annotations are the changes' marks in Grafana.
type Annotations struct {
	Written int    `json:"written"`
	Pending int    `json:"pending"`
	Error   string `json:"error,omitempty"` // why the last try did not succeed
}

// Live are the figures of the last seconds: latencies in milliseconds, rates per second.
type Live struct {
	Window   float64           `json:"window_seconds"`
	Age      *float64          `json:"age_seconds"`
	P50      *float64          `json:"p50_ms"`
	P99      *float64          `json:"p99_ms"`
	P999     *float64          `json:"p999_ms"`
	Offered  *float64          `json:"offered_per_second"`
	Acked    *float64          `json:"acked_per_second"`
	Consumed *float64          `json:"consumed_per_second"`
	Errors   *float64          `json:"errors_per_second"`
	Samples  *float64          `json:"samples"`
	Missing  map[string]string `json:"missing,omitempty"` // why a figure is absent, by its name
}

// Knob in its own unit.
type Knob struct {
	Name      string `json:"name"`
	Env       string `json:"env"`
	Unit      string `json:"unit"`
	Scale     int64  `json:"scale"` // one unit in bytes or threads
	Desired   *int64 `json:"desired"`
	Effective *int64 `json:"effective"` // as the broker or the JVM says
	Best      *int64 `json:"best"`
	Text      string `json:"text,omitempty"` // the variable as desired
}

// Trial is one change and what came of it.
type Trial struct {
	Number       int        `json:"number"`
	Phase        string     `json:"phase"`
	Since        time.Time  `json:"since"`
	Started      time.Time  `json:"started"`
	Ended        *time.Time `json:"ended,omitempty"`
	Knob         string     `json:"knob"`
	Old          int64      `json:"old"`
	New          int64      `json:"new"`
	Outcome      string     `json:"outcome,omitempty"`
	Failure      string     `json:"failure,omitempty"`
	Effect       *float64   `json:"effect,omitempty"` // relative, of goodput
	P            *float64   `json:"p,omitempty"`
	Goodput      *float64   `json:"goodput,omitempty"`
	P99          *float64   `json:"p99_ms,omitempty"`
	Reason       string     `json:"reason,omitempty"`
	DisturbedBy  string     `json:"disturbed_by,omitempty"`
	WindowsSoFar int        `json:"windows_so_far,omitempty"`
	Author       string     `json:"author"`                      // who made the change
	Purpose      string     `json:"purpose,omitempty"`           // rollback, asked, simplify, confirm, scored; absent: the search's
	Changes      []Step     `json:"changes"`                     // of every knob; Knob, Old and New are the first
	Violation    float64    `json:"violation_seconds,omitempty"` // in which a guard was breached
}

// Incumbent is what the target has when the running trial is over, unless that is kept. A way back is never given up, so what it leads to stays.
func (s Snapshot) Incumbent() map[string]int64 {
	p := map[string]int64{}
	for _, k := range s.Knobs {
		if k.Desired != nil {
			p[k.Name] = *k.Desired
		}
	}
	if s.Trial != nil && s.Trial.Purpose != string(ledger.Rollback) {
		for _, c := range s.Trial.Changes {
			p[c.Knob] = c.Old
		}
	}
	return p
}

// Step is one knob's part of a trial.
type Step struct {
	Knob string `json:"knob"`
	Old  int64  `json:"old"`
	New  int64  `json:"new"`
}

// Summary is all steps on one line, with who made them where that was not the tuner.
func (t Trial) Summary() string {
	parts := make([]string, len(t.Changes))
	for i, s := range t.Changes {
		parts[i] = fmt.Sprintf("%s %d → %d", s.Knob, s.Old, s.New)
	}
	text := strings.Join(parts, ", ")
	if len(parts) == 0 {
		text = fmt.Sprintf("%s %d → %d", t.Knob, t.Old, t.New)
	}
	if t.Purpose == string(ledger.Scored) {
		text += ", by " + t.Author
	}
	return text
}

// Reference is what runs now as the judge has measured it, with which it compares the next change, or the running one: medians of windows.
type Reference struct {
	Measured time.Time `json:"measured"`
	Goodput  float64   `json:"goodput"`
	P99      float64   `json:"p99_ms"`
}

// Order is what somebody told the tuner.
type Order struct {
	By     string           `json:"by"`
	Time   time.Time        `json:"time"`
	Reason string           `json:"reason,omitempty"`
	Knobs  map[string]int64 `json:"knobs,omitempty"`
	Held   string           `json:"held,omitempty"` // why a proposal is not tried now
}

// Change is one thing that happened to the target.
type Change struct {
	ID      uint64    `json:"id"` // the ledger's record
	Time    time.Time `json:"time"`
	Trial   int       `json:"trial,omitempty"`
	Author  string    `json:"author"`
	Outcome string    `json:"outcome"`
	Knob    string    `json:"knob,omitempty"`
	Old     string    `json:"old,omitempty"`
	New     string    `json:"new,omitempty"`
	Effect  *float64  `json:"effect,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// Proposal is what recommend mode would do next, and what mode approve waits to do.
type Proposal struct {
	Trial  int    `json:"trial"`
	Steps  []Step `json:"changes"`
	Knob   string `json:"knob"`
	Env    string `json:"env"`
	Old    string `json:"old"`
	New    string `json:"new"`
	Reason string `json:"reason"`
}

// Goal is goodput under the SLO: medians of windows, records per second.
type Goal struct {
	Baseline     *float64 `json:"baseline"`
	BaselineP99  *float64 `json:"baseline_p99_ms"`
	Incumbent    *float64 `json:"incumbent"`
	IncumbentP99 *float64 `json:"incumbent_p99_ms"`
	Candidate    *float64 `json:"candidate"`
	Best         *float64 `json:"best"`
	BestP99      *float64 `json:"best_p99_ms"`
	Ratio        *float64 `json:"ratio"` // best ÷ baseline
}

// Limits of the target's container, as everybody is told.
type Limits struct {
	CPUs   string `json:"cpus,omitempty"`
	Memory string `json:"memory,omitempty"`
}

// Links for people.
type Links struct {
	Prometheus string `json:"prometheus,omitempty"`
	Grafana    string `json:"grafana,omitempty"`
}

// Budget of the study.
type Budget struct {
	Trials        int     `json:"trials"`
	TrialsUsed    int     `json:"trials_used"`
	Restarts      int     `json:"restarts"`
	RestartsUsed  int     `json:"restarts_used"`
	Violation     float64 `json:"violation_seconds"`
	ViolationUsed float64 `json:"violation_seconds_used"`
}

// Board holds the newest snapshot. It is safe for concurrent use.
type Board struct {
	mu sync.Mutex
	s  Snapshot
}

// NewBoard starts with what does not change.
func NewBoard(start Snapshot) *Board {
	start.Schema = Schema
	if start.State == "" {
		start.State = Starting
	}
	return &Board{s: start}
}

// Update changes the snapshot. Slices, maps and what pointers lead to are replaced, never written into: readers hold them.
func (b *Board) Update(change func(*Snapshot)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.Knobs = slices.Clone(b.s.Knobs)
	change(&b.s)
}

// Snapshot is the newest, with the time of asking.
func (b *Board) Snapshot() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.s
	s.Time = time.Now().UTC().Truncate(time.Millisecond)
	s.Knobs = slices.Clone(s.Knobs)
	s.Live.Missing = maps.Clone(s.Live.Missing)
	return s
}

// Ptr is for figures that are known.
func Ptr[T any](v T) *T { return &v }
