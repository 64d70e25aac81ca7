package apply

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Event is one thing to be seen in kubectl describe.
type Event struct {
	ID      string // unique to what happened: the same event sent twice appears once
	Reason  string // TuningAttempted, …
	Message string
	Warning bool
	Time    time.Time
}

const maxMessage = 1000 // the API server refuses more than 1024 bytes

// Emit writes an event on the workload.
func (w *Workload) Emit(ctx context.Context, e Event) error {
	set, _, err := w.get(ctx)
	if err != nil {
		return fmt.Errorf("emit event: %w", err)
	}
	kind := corev1.EventTypeNormal
	if e.Warning {
		kind = corev1.EventTypeWarning
	}
	if len(e.Message) > maxMessage {
		e.Message = strings.ToValidUTF8(e.Message[:maxMessage], "") // the cut may go through a letter
	}
	id := fnv.New64a()
	fmt.Fprint(id, set.UID, e.ID, e.Reason)
	stamp := metav1.NewTime(e.Time)
	_, err = w.c.Client.CoreV1().Events(set.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: set.Namespace, Name: fmt.Sprintf("%s.%016x", set.Name, id.Sum64())},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "apps/v1", Kind: "StatefulSet", Namespace: set.Namespace, Name: set.Name, UID: set.UID, ResourceVersion: set.ResourceVersion,
		},
		Reason: e.Reason, Message: e.Message, Type: kind,
		FirstTimestamp: stamp, LastTimestamp: stamp, Count: 1,
		Source:              corev1.EventSource{Component: Manager},
		ReportingController: Manager, ReportingInstance: Manager,
	}, metav1.CreateOptions{FieldManager: Manager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("emit event %s: %w", e.Reason, err)
	}
	return nil
}
