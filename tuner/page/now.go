package page

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// moment is what the page shows of now. It is asked for each second, so it is small: trials and changes are the study's.
type moment struct {
	Status  status.Snapshot `json:"status"`
	Study   string          `json:"study"` // the tag of the newest study
	Health  []Part          `json:"health"`
	About   about           `json:"about"`
	Samples json.RawMessage `json:"samples"`
}

// about is what does not change while the tuner runs.
type about struct {
	Target string           `json:"target"`
	Acts   bool             `json:"acts"`  // the mode changes the target
	Token  bool             `json:"token"` // orders need one
	Phases []ledger.Phase   `json:"phases"`
	Plan   plan             `json:"plan"`
	Ranges map[string]limit `json:"ranges"`
}

// plan is how long a trial's phases last, in seconds, where the file says it.
type plan struct {
	Settle  float64 `json:"settling"`
	Warmup  float64 `json:"warming"`
	Window  float64 `json:"window"`
	Windows int     `json:"windows"`
}

type limit struct {
	Min int64 `json:"min"`
	Max int64 `json:"max"`
}

func (p *Page) about() about {
	f := p.c.File
	a := about{
		Acts: f.Mode.Acts(), Token: p.c.Token, Phases: ledger.Phases(), Ranges: map[string]limit{},
		Plan: plan{f.Windows.Settle.Seconds(), f.Windows.Warmup.Seconds(), f.Windows.Window.Seconds(), f.Windows.Count},
	}
	if t := f.Target; t.Name != "" {
		a.Target = t.Kind + " " + t.Namespace + "/" + t.Name
	}
	for _, k := range f.Space() {
		a.Ranges[k.Name] = limit{k.Min, k.Max}
	}
	return a
}

func (p *Page) now(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseInt(r.FormValue("after"), 10, 64)
	if err != nil {
		after = 0
	}
	s := p.c.Board.Snapshot()
	known := p.book.newest()
	m := moment{Status: s, Study: known.tag, About: p.about(), Health: health(s, known.err), Samples: p.samples.json(r.FormValue("epoch"), after)}
	m.Status.Trials, m.Status.Changes = nil, nil
	body, err := json.Marshal(m)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	guarded(w, policy)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body)
}
