package apply

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// TermAnnotation on the workload is the highest term under which a tuner has claimed it.
const TermAnnotation = "kafkalab.io/tuner-term"

// ErrFenced says that a later holder of the lease has claimed the target: this tuner must not write any more.
var ErrFenced = errors.New("another tuner has taken over")

// Under is the workload as the holder of this term of the lease writes to it. Every write of an earlier term is refused once Claim has returned: one
// that reads the workload sees the higher term, and one that read it before carries a resource version that Claim has made old.
func (w *Workload) Under(term int64) *Workload {
	under := *w
	under.c.Term = term
	return &under
}

// Claim marks the target with the term. It changes nothing else, so no pod restarts.
func (w *Workload) Claim(ctx context.Context) error {
	for {
		set, _, err := w.get(ctx)
		if err != nil {
			return err
		}
		if err := w.fenced(set); err != nil {
			return err
		}
		err = w.write(ctx, types.MergePatchType, map[string]any{"metadata": map[string]any{
			"resourceVersion": set.ResourceVersion, "annotations": map[string]string{TermAnnotation: strconv.FormatInt(w.c.Term, 10)},
		}})
		switch {
		case err == nil:
			return nil
		case !apierrors.IsConflict(err):
			return fmt.Errorf("claim %s: %w", w.c.Target, err)
		}
		if err := pause(ctx, w.c.Poll/10); err != nil {
			return err
		}
	}
}

// Highest is the highest term under which the target was claimed; 0: never.
func (w *Workload) Highest(ctx context.Context) (int64, error) {
	set, _, err := w.get(ctx)
	if err != nil {
		return 0, err
	}
	term, err := strconv.ParseInt(set.Annotations[TermAnnotation], 10, 64)
	if err != nil {
		return 0, nil // there is none, or nothing that a tuner wrote: Claim writes its own
	}
	return term, nil
}

// fenced refuses when somebody with a higher term was here. A workload without a term is nobody's.
func (w *Workload) fenced(set *object) error {
	if w.c.Term == 0 {
		return nil
	}
	text, has := set.Annotations[TermAnnotation]
	term, err := strconv.ParseInt(text, 10, 64)
	if has && err == nil && term > w.c.Term {
		return fmt.Errorf("write to %s under term %d: %w, its term is %d", w.c.Target, w.c.Term, ErrFenced, term)
	}
	return nil
}
