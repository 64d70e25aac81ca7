package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Class names why a rollout failed.
type Class string

// The classes.
const (
	Image           Class = "image"
	OutOfMemory     Class = "out-of-memory"
	CrashLoop       Class = "crash-loop"
	Unschedulable   Class = "unschedulable"
	ContainerConfig Class = "container-config"
	Deadline        Class = "deadline"
	Replaced        Class = "replaced" // the pod was deleted after the rollout
	API             Class = "api"      // the API server could not be asked; nothing is known about the pods
)

// Blames says whether the failure speaks against the value that was set. The others are the machine's, the API server's or somebody else's.
func (c Class) Blames() bool { return c == OutOfMemory || c == CrashLoop || c == Deadline }

// RolloutError is a rollout that did not complete.
type RolloutError struct {
	Class  Class
	Detail string
}

func (e *RolloutError) Error() string { return fmt.Sprintf("rollout: %s: %s", e.Class, e.Detail) }

const (
	outOfMemory = "OOMKilled"

	crashes    = 2                // restarts of a new pod's container that make a crash loop; one may be the node's doing
	schedGrace = 15 * time.Second // unschedulable is normal while the old pod still holds its resources
)

// Rollout waits until every pod runs the newest template and is ready. The error is a *RolloutError, or the context's.
// It only looks.
func (w *Workload) Rollout(ctx context.Context) error { return w.await(ctx, w.progress) }

// Rollback waits like Rollout for a template that was put right, and meanwhile deletes the broken pods of older ones that stand in its way.
func (w *Workload) Rollback(ctx context.Context) error {
	return w.await(ctx, func(ctx context.Context, waited time.Duration) (bool, string, *RolloutError, error) {
		if err := w.unblock(ctx); err != nil {
			return false, "", nil, err
		}
		return w.progress(ctx, waited)
	})
}

type look func(ctx context.Context, waited time.Duration) (done bool, now string, failed *RolloutError, err error)

func (w *Workload) await(ctx context.Context, look look) error {
	start := time.Now()
	state, unreachable := "nothing seen yet", false
	for {
		done, now, failed, err := look(ctx, time.Since(start))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			state, unreachable = err.Error(), true
		case failed != nil:
			return failed
		case done:
			return nil
		default:
			state, unreachable = now, false
		}
		if time.Since(start) > w.c.Deadline {
			class := Deadline
			if unreachable {
				class = API
			}
			return &RolloutError{Class: class, Detail: fmt.Sprintf("not complete after %s: %s", w.c.Deadline, state)}
		}
		if err := pause(ctx, w.c.Poll); err != nil {
			return err
		}
	}
}

// progress looks once. now is for people; failed means that waiting longer is pointless.
func (w *Workload) progress(ctx context.Context, waited time.Duration) (done bool, now string, failed *RolloutError, err error) {
	set, _, err := w.get(ctx)
	if err != nil {
		return false, "", nil, err
	}
	if set.Status.ObservedGeneration < set.Generation {
		return false, "the controller has not seen the change", nil, nil
	}
	pods, err := w.pods(ctx, set)
	if err != nil {
		return false, "", nil, err
	}
	want := 1
	if set.Spec.Replicas != nil {
		want = int(*set.Spec.Replicas)
	}
	ready := 0
	for i := range pods {
		p := &pods[i]
		if p.Labels[appsv1.StatefulSetRevisionLabel] != set.Status.UpdateRevision {
			continue
		}
		if failed := failure(p, w.c.Target.Container, waited); failed != nil {
			return false, "", failed, nil
		}
		if podReady(p) {
			ready++
		}
	}
	if ready == want && len(pods) == want {
		return true, "", nil, nil
	}
	return false, fmt.Sprintf("%d of %d pods run the new template and are ready (%s)", ready, want, describe(pods)), nil, nil
}

func (w *Workload) pods(ctx context.Context, set *appsv1.StatefulSet) ([]corev1.Pod, error) {
	list, err := w.c.Client.CoreV1().Pods(set.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.SelectorFromSet(set.Spec.Selector.MatchLabels).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s/%s: %w", set.Namespace, set.Name, err)
	}
	own := list.Items[:0]
	for _, p := range list.Items {
		if o := metav1.GetControllerOf(&p); o != nil && o.Kind == "StatefulSet" && o.Name == set.Name {
			own = append(own, p)
		}
	}
	return own, nil
}

// unblock deletes pods of an older template that can never become ready when the policy is OrderedReady: the controller waits for them for
// ever. A pod that is ready, or that the controller replaces by itself, is left alone.
func (w *Workload) unblock(ctx context.Context) error {
	set, _, err := w.get(ctx)
	if err != nil {
		return err
	}
	ordered := set.Spec.PodManagementPolicy == "" || set.Spec.PodManagementPolicy == appsv1.OrderedReadyPodManagement
	if !ordered || set.Status.ObservedGeneration < set.Generation {
		return nil
	}
	pods, err := w.pods(ctx, set)
	if err != nil {
		return err
	}
	for i := range pods {
		if pods[i].Labels[appsv1.StatefulSetRevisionLabel] == set.Status.UpdateRevision {
			continue
		}
		if err := w.deleteBroken(ctx, &pods[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *Workload) deleteBroken(ctx context.Context, p *corev1.Pod) error {
	if p.DeletionTimestamp != nil || podReady(p) || failure(p, w.c.Target.Container, schedGrace+1) == nil {
		return nil
	}
	w.c.Logger.Warn("delete a broken pod of an older template, which the controller would wait for", "pod", p.Name)
	err := w.c.Client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete broken pod %s: %w", p.Name, err)
	}
	return nil
}

// failure names why the pod will not become ready, or nil while it still may.
func failure(p *corev1.Pod, container string, waited time.Duration) *RolloutError {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable && waited > schedGrace {
			return &RolloutError{Class: Unschedulable, Detail: fmt.Sprintf("pod %s: %s", p.Name, c.Message)}
		}
	}
	for _, s := range p.Status.ContainerStatuses {
		if s.Name != container {
			continue
		}
		if ended := lastEnd(s); ended != nil && ended.Reason == outOfMemory && !s.Ready {
			return &RolloutError{Class: OutOfMemory, Detail: fmt.Sprintf("pod %s: killed at its memory limit (exit code %d)", p.Name, ended.ExitCode)}
		}
		if wait := s.State.Waiting; wait != nil {
			detail := fmt.Sprintf("pod %s: %s: %s", p.Name, wait.Reason, wait.Message)
			switch wait.Reason {
			case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ErrImageInspect":
				return &RolloutError{Class: Image, Detail: detail}
			case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
				return &RolloutError{Class: ContainerConfig, Detail: detail}
			case "CrashLoopBackOff":
				return &RolloutError{Class: CrashLoop, Detail: crashDetail(p, s)}
			}
		}
		if s.RestartCount >= crashes && !s.Ready {
			return &RolloutError{Class: CrashLoop, Detail: crashDetail(p, s)}
		}
	}
	return nil
}

func crashDetail(p *corev1.Pod, s corev1.ContainerStatus) string {
	detail := fmt.Sprintf("pod %s: restarted %d times", p.Name, s.RestartCount)
	if ended := lastEnd(s); ended != nil {
		detail += fmt.Sprintf(", last exit code %d (%s)", ended.ExitCode, ended.Reason)
		if ended.Message != "" {
			detail += ": " + ended.Message
		}
	}
	return detail
}

func lastEnd(s corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if s.State.Terminated != nil {
		return s.State.Terminated
	}
	return s.LastTerminationState.Terminated
}

func podReady(p *corev1.Pod) bool {
	if p.DeletionTimestamp != nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func describe(pods []corev1.Pod) string {
	if len(pods) == 0 {
		return "no pod exists"
	}
	p := pods[0]
	return fmt.Sprintf("%s is %s", p.Name, p.Status.Phase)
}

// ClassOf is the class of a failed rollout in err, or the empty string.
func ClassOf(err error) Class {
	var e *RolloutError
	if errors.As(err, &e) {
		return e.Class
	}
	return ""
}
