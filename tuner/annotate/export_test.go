package annotate

import (
	"net/http"
	"time"
)

// Hurry makes the worker wait less.
func (w *Worker) Hurry() {
	w.pace = pace{answer: 2 * time.Second, first: 2 * time.Millisecond, longest: 20 * time.Millisecond, lookBack: 100 * time.Millisecond}
	w.client.timeout = w.pace.answer
}

// By makes requests go another way.
func (w *Worker) By(way http.RoundTripper) { w.client.http.Transport = way }

// Idle tells whether there is nothing left to do, now or later.
func (w *Worker) Idle() bool {
	_, _, todo := w.todo(time.Now())
	return len(todo) == 0 && w.next(time.Now()) == 0
}
