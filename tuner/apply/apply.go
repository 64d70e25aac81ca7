// Package apply brings a value to the target and finds out whether it took effect there: one environment variable of one container, by a
// strategic merge patch under the field manager kafkalab-tuner; the rollout with its reasons; the values that the brokers and their JVMs really
// run with; events on the workload.
//
// It promises that a patch touches only that variable and only while it still holds the value the caller saw, that setting what is already set
// does nothing, and that a failed rollout is named (image, out-of-memory, crash-loop, unschedulable, container-config, deadline, or api when the
// API server could not be asked), and so is a broker that dies after it (replaced when its pod was). It leaves out deciding, and Deployments and other kinds of workload.
//
// Rights it needs in the target's namespace: get, list, watch and patch on that StatefulSet; get, list and watch on pods; create and patch on
// events. With podManagementPolicy OrderedReady also delete on pods: Kubernetes then leaves a broken pod in place even after the template was
// put right, and only its deletion lets the rollback through (Parallel needs no such right).
package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Manager is the field manager of every write.
const Manager = "kafkalab-tuner"

// Target is the container whose variables are turned.
type Target struct {
	Namespace, Name, Container string
}

// Config of a Workload. Client, Target and Variables are required.
type Config struct {
	Client    kubernetes.Interface
	Target    Target
	Variables []string // the variables that are knobs
	Deadline  time.Duration
	Poll      time.Duration
	Logger    *slog.Logger
	Term      int64 // of the lease under which it writes; 0: no lease is held
}

// Workload is the StatefulSet behind the target.
type Workload struct {
	c Config
}

// Author is who wrote something, as the API server recorded it.
type Author struct {
	Manager string
	Time    time.Time
}

// View is the target as it is now.
type View struct {
	Env map[string]string // the knobs' variables that are set to a plain value
	// Rest is a digest of everything in the workload's spec except the values in Env: it changes when anything else was changed.
	Rest       string
	Generation int64
	Memory     int64             // the container's limit in bytes; 0: none
	Authors    map[string]Author // who owns each variable's value
	Newest     Author            // who else than this tuner wrote the spec last
}

// New checks its configuration; it does not connect.
func New(c Config) (*Workload, error) {
	if c.Client == nil || c.Target.Namespace == "" || c.Target.Name == "" || c.Target.Container == "" || len(c.Variables) == 0 {
		return nil, errors.New("apply: client, namespace, name, container and variables are required")
	}
	if c.Deadline <= 0 {
		c.Deadline = 3 * time.Minute
	}
	if c.Poll <= 0 {
		c.Poll = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Workload{c: c}, nil
}

func (w *Workload) get(ctx context.Context) (*appsv1.StatefulSet, *corev1.Container, error) {
	t := w.c.Target
	set, err := w.c.Client.AppsV1().StatefulSets(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("get statefulset %s/%s: %w", t.Namespace, t.Name, err)
	}
	containers := set.Spec.Template.Spec.Containers
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == t.Container })
	if i < 0 {
		return nil, nil, fmt.Errorf("get statefulset %s/%s: it has no container %q", t.Namespace, t.Name, t.Container)
	}
	return set, &containers[i], nil
}

// Look reads the target.
func (w *Workload) Look(ctx context.Context) (View, error) {
	set, container, err := w.get(ctx)
	if err != nil {
		return View{}, err
	}
	return w.view(set, container)
}

func (w *Workload) view(set *appsv1.StatefulSet, container *corev1.Container) (View, error) {
	v := View{Env: map[string]string{}, Generation: set.Generation, Memory: container.Resources.Limits.Memory().Value()}
	for _, e := range container.Env {
		if slices.Contains(w.c.Variables, e.Name) && e.ValueFrom == nil {
			v.Env[e.Name] = e.Value
		}
	}
	v.Authors, v.Newest = authors(set.ManagedFields, w.c.Target.Container, w.c.Variables)
	rest, err := digest(set, w.c.Target.Container, w.c.Variables)
	v.Rest = rest
	return v, err
}

// digest leaves out the knobs' values, so that our own changes do not alter it.
func digest(set *appsv1.StatefulSet, container string, variables []string) (string, error) {
	spec := set.Spec.DeepCopy()
	for i := range spec.Template.Spec.Containers {
		c := &spec.Template.Spec.Containers[i]
		for j := range c.Env {
			if c.Name == container && slices.Contains(variables, c.Env[j].Name) {
				c.Env[j].Value = ""
			}
		}
	}
	text, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("digest statefulset: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}

// ErrChanged says that the variable holds neither the old nor the new value: somebody else wrote it.
var ErrChanged = errors.New("changed by somebody else")

// ErrRefused says that the API server will not take the change: no right to it, an admission policy, an invalid object. Trying again is pointless.
var ErrRefused = errors.New("refused by the API server")

const conflictTries = 10 // the controller's status writes make conflicts too, several during a rollout

// Set changes one variable from old to new and returns the target as it is then. When it already is new nothing is sent.
func (w *Workload) Set(ctx context.Context, variable, old, new string) (View, error) {
	for try := 1; ; try++ {
		set, container, err := w.get(ctx)
		if err != nil {
			return View{}, err
		}
		i := slices.IndexFunc(container.Env, func(e corev1.EnvVar) bool { return e.Name == variable })
		switch {
		case i < 0 || container.Env[i].ValueFrom != nil:
			return View{}, fmt.Errorf("set %s: the container does not set it to a plain value: %w", variable, ErrChanged)
		case container.Env[i].Value == new:
			return w.view(set, container)
		case container.Env[i].Value != old:
			return View{}, fmt.Errorf("set %s to %q: want %q there (got %q): %w", variable, new, old, container.Env[i].Value, ErrChanged)
		}
		if err := w.fenced(set); err != nil {
			return View{}, err
		}
		err = w.patch(ctx, set.ResourceVersion, variable, new)
		switch {
		case err == nil:
			return w.Look(ctx)
		case apierrors.IsConflict(err) && try < conflictTries:
			if err := pause(ctx, time.Duration(try)*50*time.Millisecond); err != nil {
				return View{}, err
			}
		case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsUnauthorized(err):
			return View{}, fmt.Errorf("patch %s: %w: %w", variable, ErrRefused, err)
		default:
			return View{}, fmt.Errorf("patch %s of statefulset %s/%s: %w", variable, w.c.Target.Namespace, w.c.Target.Name, err)
		}
	}
}

// patch carries the resource version, so that the API server refuses it when anything changed since it was read.
func (w *Workload) patch(ctx context.Context, version, variable, value string) error {
	type object = map[string]any
	body, err := json.Marshal(object{
		"metadata": object{"resourceVersion": version},
		"spec": object{"template": object{"spec": object{"containers": []object{{
			"name": w.c.Target.Container,
			"env":  []object{{"name": variable, "value": value}},
		}}}}},
	})
	if err != nil {
		return err
	}
	_, err = w.c.Client.AppsV1().StatefulSets(w.c.Target.Namespace).Patch(ctx, w.c.Target.Name,
		types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: Manager})
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
