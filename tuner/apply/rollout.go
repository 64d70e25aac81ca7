package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	Probe           Class = "probe"    // the container runs and is not ready
	RestartLoop     Class = "restart-loop"
	API             Class = "api" // the API server could not be asked; nothing is known about the pods
)

// Blames says whether the failure speaks against the value that was set. The others are the machine's, the API server's or somebody else's.
func (c Class) Blames() bool {
	switch c {
	case OutOfMemory, CrashLoop, Deadline, Probe, RestartLoop:
		return true
	}
	return false
}

// RolloutError is a rollout that did not complete.
type RolloutError struct {
	Class  Class
	Detail string
}

func (e *RolloutError) Error() string {
	return fmt.Sprintf("rollout: %s: %s; %s", e.Class, e.Detail, e.Class.Explain())
}

const (
	outOfMemory = "OOMKilled"

	crashes    = 2                // restarts of a new pod's container that make a crash loop; one may be the node's doing
	schedGrace = 15 * time.Second // unschedulable is normal while the old pod still holds its resources
)

// Rollout waits until every pod runs the newest template and is ready. The error is a *RolloutError, or the context's.
// It only looks.
func (w *Workload) Rollout(ctx context.Context) error { return w.c.await(ctx, w.progress) }

// Rollback waits like Rollout for a template that was put right, and meanwhile deletes the broken pods of older ones that stand in its way.
func (w *Workload) Rollback(ctx context.Context) error {
	return w.c.await(ctx, func(ctx context.Context, waited time.Duration) progress {
		if err := w.unblock(ctx, waited); err != nil {
			return progress{err: err}
		}
		return w.progress(ctx, waited)
	})
}

// progress is what one look saw. now is for people; failed means that waiting longer is pointless; unready that all is there and only does not
// answer yet; err that nothing could be seen.
type progress struct {
	done    bool
	now     string
	failed  *RolloutError
	unready bool
	err     error
}

func (c Config) await(ctx context.Context, look func(ctx context.Context, waited time.Duration) progress) error {
	start := time.Now()
	for {
		p := look(ctx, time.Since(start))
		class := Deadline
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(p.err, ErrFenced):
			return p.err
		case p.err != nil:
			class, p.now = API, p.err.Error()
		case p.failed != nil:
			return p.failed
		case p.done:
			return nil
		case p.unready:
			class = Probe
		}
		if time.Since(start) > c.Deadline {
			return &RolloutError{Class: class, Detail: fmt.Sprintf("not complete after %s: %s", c.Deadline, p.now)}
		}
		if err := pause(ctx, c.Poll); err != nil {
			return err
		}
	}
}

func (w *Workload) progress(ctx context.Context, waited time.Duration) progress {
	o, _, err := w.get(ctx)
	if err != nil {
		return progress{err: err}
	}
	if o.observed < o.Generation {
		return progress{now: "the controller has not seen the change"}
	}
	pods, err := w.pods(ctx, o)
	if err != nil {
		return progress{err: err}
	}
	var newest []corev1.Pod
	for _, p := range pods {
		if p.newest {
			newest = append(newest, p.Pod)
		}
	}
	if o.quiet {
		// Its pods keep the template that they were made of until somebody deletes them: what counts is that they run.
		newest = newest[:0]
		for _, p := range pods {
			newest = append(newest, p.Pod)
		}
	}
	return judgePods(newest, len(pods), o.replicas, w.c.Target.Container, waited)
}

// judgePods looks at the pods that count; there may be others of older templates.
func judgePods(newest []corev1.Pod, all, want int, container string, waited time.Duration) progress {
	ready, running := 0, 0
	for i := range newest {
		p := &newest[i]
		if failed := failure(p, container, waited); failed != nil {
			return progress{failed: failed}
		}
		if podReady(p) {
			ready++
		}
		if containerRuns(p, container) {
			running++
		}
	}
	if ready == want && all == want {
		return progress{done: true}
	}
	return progress{
		now:     fmt.Sprintf("%d of %d pods run the new template and are ready%s", ready, want, waitsFor(newest, container)),
		unready: len(newest) > 0 && running == len(newest),
	}
}

// unblock deletes pods of an older template that can never become ready when the policy is OrderedReady: the controller waits for them for
// ever. A pod that is ready, or that the controller replaces by itself, is left alone.
func (w *Workload) unblock(ctx context.Context, waited time.Duration) error {
	o, _, err := w.get(ctx)
	if err != nil {
		return err
	}
	if !o.ordered || o.observed < o.Generation {
		return nil
	}
	if err := w.fenced(o); err != nil {
		return err
	}
	pods, err := w.pods(ctx, o)
	if err != nil {
		return err
	}
	for i := range pods {
		if pods[i].newest {
			continue
		}
		if err := w.deleteBroken(ctx, &pods[i].Pod, waited); err != nil {
			return err
		}
	}
	return nil
}

// deleteBroken spares a pod that may still become ready; one whose container runs and does not for so long will not with that template.
func (w *Workload) deleteBroken(ctx context.Context, p *corev1.Pod, waited time.Duration) error {
	mute := containerRuns(p, w.c.Target.Container) && waited > schedGrace
	if p.DeletionTimestamp != nil || podReady(p) || !mute && failure(p, w.c.Target.Container, schedGrace+1) == nil {
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
			return &RolloutError{Class: OutOfMemory, Detail: fmt.Sprintf("pod %s: %s%s", p.Name, exit(ended), limit(p, container))}
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
		detail += ", last " + exit(ended)
	}
	return detail
}

// limit is what a container may use, for people.
func limit(p *corev1.Pod, container string) string {
	for _, c := range p.Spec.Containers {
		if memory := c.Resources.Limits.Memory(); c.Name == container && !memory.IsZero() {
			return " of " + memory.String()
		}
	}
	return ""
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

func containerRuns(p *corev1.Pod, container string) bool {
	for _, s := range p.Status.ContainerStatuses {
		if s.Name == container {
			return s.State.Running != nil
		}
	}
	return false
}

// waitsFor says what one of the pods that are not ready waits for.
func waitsFor(pods []corev1.Pod, container string) string {
	if len(pods) == 0 {
		return " (there is none yet)"
	}
	for i := range pods {
		p := &pods[i]
		if podReady(p) {
			continue
		}
		said := fmt.Sprintf("%s is %s", p.Name, p.Status.Phase)
		for _, s := range p.Status.ContainerStatuses {
			switch {
			case s.Name != container || s.State.Running == nil:
			case s.Started != nil && !*s.Started:
				said += ", its startup probe has not succeeded yet"
			default:
				said += ", its readiness probe fails"
			}
		}
		return " (" + said + ")"
	}
	return ""
}

// ClassOf is the class of a failed rollout in err, or the empty string.
func ClassOf(err error) Class {
	var e *RolloutError
	if errors.As(err, &e) {
		return e.Class
	}
	return ""
}
