package annotate_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// fake is Grafana's API of annotations with what in it makes "exactly once" hard: it knows no request that may be sent twice, writes an annotation and its
// tags one after the other, cuts tags at a second colon, and finds by tags only those of which it has written the tags.
type fake struct {
	token string // empty: whoever asks

	mu       sync.Mutex
	rows     []row
	last     int64
	requests int
	late     []note // carried out after their sender has given up
	fail     func(n int, r *http.Request) failure
	refuse   string // a tag that is answered with 400
	hook     func(n int, r *http.Request)
	seen     []string // methods
}

type row struct {
	note
	tagged bool // its tags are written: they find it
}

type note struct {
	ID      int64    `json:"id"`
	Time    int64    `json:"time"`
	TimeEnd int64    `json:"timeEnd"`
	Text    string   `json:"text"`
	Tags    []string `json:"tags"`
}

// failure is how a request goes wrong.
type failure string

const (
	none   failure = ""
	before failure = "nothing was done, and it says so"
	after  failure = "it was done, and the answer says that it was not"
	cut    failure = "it was done, and the connection breaks"
	half   failure = "the annotation was written, its tags were not"
	late   failure = "the connection breaks, and later it is done"
)

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests++
	n, hook, fail := f.requests, f.hook, f.fail
	f.seen = append(f.seen, r.Method)
	f.mu.Unlock()
	if hook != nil {
		hook(n, r)
	}
	how := none
	if fail != nil {
		how = fail(n, r)
	}
	status, body := 0, any(nil)
	f.mu.Lock()
	if how != before {
		status, body = f.act(r, how)
	}
	f.mu.Unlock()
	switch how {
	case none:
	case cut, late:
		panic(http.ErrAbortHandler)
	default:
		status, body = http.StatusInternalServerError, message("it broke")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func message(text string) map[string]any { return map[string]any{"message": text} }

func (f *fake) act(r *http.Request, how failure) (int, any) {
	if f.token != "" && r.Header.Get("Authorization") != "Bearer "+f.token {
		return http.StatusUnauthorized, message("Invalid API key")
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/sub/api/annotations")
	if !ok {
		return http.StatusNotFound, message("Not found")
	}
	id, _ := strconv.ParseInt(strings.TrimPrefix(path, "/"), 10, 64)
	i := slices.IndexFunc(f.rows, func(a row) bool { return a.ID == id })
	var in note
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		if r.Header.Get("Content-Type") != "application/json" || json.NewDecoder(r.Body).Decode(&in) != nil {
			return http.StatusBadRequest, message("bad request data")
		}
		if in.Tags = stored(in.Tags); len(strings.Join(in.Tags, `","`))+4 > 500 || f.refuse != "" && slices.Contains(in.Tags, f.refuse) {
			return http.StatusBadRequest, message("tags length exceeds the maximum allowed")
		}
	}
	switch {
	case r.Method == http.MethodGet && path == "":
		return http.StatusOK, f.find(r)
	case r.Method == http.MethodPost && path == "" && in.Text == "":
		return http.StatusBadRequest, message("Failed to save annotation")
	case r.Method == http.MethodPost && path == "":
		return http.StatusOK, f.create(in, how)
	case i < 0:
		return http.StatusNotFound, message("Annotation not found")
	case r.Method == http.MethodPatch:
		a := &f.rows[i]
		a.Time, a.TimeEnd, a.Text, a.Tags, a.tagged = in.Time, in.TimeEnd, in.Text, in.Tags, true
		return http.StatusOK, message("Annotation patched")
	case r.Method == http.MethodDelete:
		f.rows = slices.Delete(f.rows, i, i+1)
		return http.StatusOK, message("Annotation deleted")
	}
	return http.StatusMethodNotAllowed, message("Method not allowed")
}

// create carries out what came late right after the same was created anew: nobody who looked before could see it.
func (f *fake) create(in note, how failure) any {
	if how == late {
		f.late = append(f.late, in)
		return nil
	}
	f.insert(in, how != half)
	f.late = slices.DeleteFunc(f.late, func(l note) bool {
		same := l.Time == in.Time && slices.Equal(l.Tags[1:3], in.Tags[1:3])
		if same {
			f.insert(l, true)
		}
		return same
	})
	return map[string]any{"message": "Annotation added", "id": f.last}
}

func (f *fake) insert(a note, tagged bool) {
	f.last++
	a.ID = f.last
	f.rows = append(f.rows, row{a, tagged})
}

// stored is what Grafana makes of tags.
func stored(tags []string) []string {
	out := []string{}
	for _, t := range tags {
		parts := strings.Split(t, ":")
		t = strings.Trim(parts[0], " ")
		if len(parts) > 1 && strings.Trim(parts[1], " ") != "" {
			t += ":" + strings.Trim(parts[1], " ")
		}
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

func (f *fake) find(r *http.Request) any {
	q := r.URL.Query()
	number := func(name string) int64 { n, _ := strconv.ParseInt(q.Get(name), 10, 64); return n }
	from, to, limit := number("from"), number("to"), int(number("limit"))
	out := []note{}
	for _, a := range f.rows {
		if from > 0 && to > 0 && (a.Time > to || a.TimeEnd < from) {
			continue
		}
		matches := 0
		for _, t := range stored(q["tags"]) {
			if a.tagged && slices.Contains(a.Tags, t) {
				matches++
			}
		}
		if matches == len(q["tags"]) {
			out = append(out, a.note)
		}
	}
	slices.SortStableFunc(out, func(a, b note) int { return int(b.TimeEnd - a.TimeEnd) })
	if limit == 0 {
		limit = 100
	}
	return out[:min(len(out), limit)]
}

// all is what there is, with how many of them nobody finds by their tags.
func (f *fake) all() (notes []note, untagged int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.rows {
		notes = append(notes, a.note)
		if !a.tagged {
			untagged++
		}
	}
	return notes, untagged
}

func (f *fake) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}
