package annotate

import "time"

// Hurry makes the worker wait less.
func (w *Worker) Hurry() {
	w.pace = pace{answer: 2 * time.Second, first: 2 * time.Millisecond, longest: 20 * time.Millisecond, lookBack: 100 * time.Millisecond}
	w.client.timeout = w.pace.answer
}

// Idle tells whether there is nothing left to do, now or later.
func (w *Worker) Idle() bool {
	_, _, todo := w.todo(time.Now())
	return len(todo) == 0 && w.next(time.Now()) == 0
}
