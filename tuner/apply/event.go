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
	"k8s.io/client-go/kubernetes"
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
	o, err := w.read(ctx)
	if err != nil {
		return fmt.Errorf("emit event: get %s: %w", w.c.Target, err)
	}
	return emit(ctx, w.c.Client, corev1.ObjectReference{
		APIVersion: "apps/v1", Kind: o.kind, Namespace: o.Namespace, Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion,
	}, e)
}

func emit(ctx context.Context, client kubernetes.Interface, on corev1.ObjectReference, e Event) error {
	kind := corev1.EventTypeNormal
	if e.Warning {
		kind = corev1.EventTypeWarning
	}
	if len(e.Message) > maxMessage {
		e.Message = strings.ToValidUTF8(e.Message[:maxMessage], "") // the cut may go through a letter
	}
	id := fnv.New64a()
	fmt.Fprint(id, on.UID, e.ID, e.Reason)
	stamp := metav1.NewTime(e.Time)
	_, err := client.CoreV1().Events(on.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: on.Namespace, Name: fmt.Sprintf("%s.%016x", on.Name, id.Sum64())},
		InvolvedObject: on,
		Reason:         e.Reason, Message: e.Message, Type: kind,
		FirstTimestamp: stamp, LastTimestamp: stamp, Count: 1,
		Source:              corev1.EventSource{Component: Manager},
		ReportingController: Manager, ReportingInstance: Manager,
	}, metav1.CreateOptions{FieldManager: Manager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("emit event %s: %w", e.Reason, err)
	}
	return nil
}
