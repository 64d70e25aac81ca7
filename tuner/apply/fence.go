package apply

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TermAnnotation on the target is the highest term under which a tuner has claimed it.
const TermAnnotation = "kafkalab.io/tuner-term"

// ErrFenced says that a later holder of the lease has claimed the target: this tuner must not write any more.
var ErrFenced = errors.New("another tuner has taken over")

// Under is the workload as the holder of this term of the lease writes to it. Every write of an earlier term is refused once Claim has returned: one
// that reads the workload sees the higher term, and one that read it before carries a resource version that Claim has made old.
//
// Brokers and pods know no such version. Before each request to them the workload is asked; an earlier holder that is stopped exactly between the two
// can still send that one request.
func (w *Workload) Under(term int64) *Workload {
	under := *w
	under.c.Term = term
	return &under
}

// Claim marks the target with the term. It changes nothing else, so no pod restarts.
func (w *Workload) Claim(ctx context.Context) error {
	read := func() (metav1.Object, error) { o, _, err := w.get(ctx); return o, err }
	return claim(ctx, w.c.Target, w.c.Term, read, func(body any) error { return w.write(ctx, types.MergePatchType, body) })
}

// Highest is the highest term under which the target was claimed; 0: never.
func (w *Workload) Highest(ctx context.Context) (int64, error) {
	o, _, err := w.get(ctx)
	if err != nil {
		return 0, err
	}
	return termIn(o.Annotations), nil
}

// fenced refuses when somebody with a higher term was here.
func (w *Workload) fenced(o *object) error { return fenced(w.c.Target, w.c.Term, o) }

// fence is fenced with a fresh look.
func (w *Workload) fence(ctx context.Context) error {
	if w.c.Term == 0 {
		return nil
	}
	o, _, err := w.get(ctx)
	if err != nil {
		return err
	}
	return w.fenced(o)
}

// claimRetry is the pause after a conflict.
const claimRetry = 50 * time.Millisecond

func claim(ctx context.Context, what fmt.Stringer, term int64, read func() (metav1.Object, error), write func(body any) error) error {
	for {
		o, err := read()
		if err != nil {
			return err
		}
		if err := fenced(what, term, o); err != nil {
			return err
		}
		err = write(map[string]any{"metadata": map[string]any{
			"resourceVersion": o.GetResourceVersion(), "annotations": map[string]string{TermAnnotation: strconv.FormatInt(term, 10)},
		}})
		switch {
		case err == nil:
			return nil
		case !apierrors.IsConflict(err):
			return fmt.Errorf("claim %s: %w", what, err)
		}
		if err := pause(ctx, claimRetry); err != nil {
			return err
		}
	}
}

// fenced says that what has no term is nobody's.
func fenced(what fmt.Stringer, term int64, o metav1.Object) error {
	if highest := termIn(o.GetAnnotations()); term > 0 && highest > term {
		return fmt.Errorf("write to %s under term %d: %w, its term is %d", what, term, ErrFenced, highest)
	}
	return nil
}

// termIn is 0 when there is none, or nothing that a tuner wrote: Claim writes its own.
func termIn(annotations map[string]string) int64 {
	term, err := strconv.ParseInt(annotations[TermAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return term
}
