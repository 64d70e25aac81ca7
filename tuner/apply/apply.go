// Package apply brings a value to the target and finds out whether it took effect there. There are three ways to a value, each with the same
// methods: Workload patches an environment variable of a StatefulSet's or Deployment's container, under the field manager kafkalab-tuner; Mixed
// does that for some variables and changes others at the running brokers; Strimzi changes a Kafka resource and nothing that its operator owns.
// Then there are the rollout with its reasons, the values that the brokers and their JVMs really run with, and events.
//
// It promises that a change touches only what it names and only while that still holds the value the caller saw, that setting what is already set
// does nothing, that a failed rollout is named and explained (see Class), and so is a broker that dies after it; and that a controller which puts a
// value of ours back again and again is named and left alone, unless what it puts back has to go (Restore). It leaves out deciding.
//
// Rights it needs in the target's namespace: get and patch on that workload; list on pods; create on events. Beside that list on replica sets for
// a Deployment, and with podManagementPolicy OrderedReady delete on pods: Kubernetes then leaves a broken pod in place even after the template
// was put right, and only its deletion lets the rollback through (Parallel needs no such right). Rights asks for all of them.
package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Manager is the field manager of every write.
const Manager = "kafkalab-tuner"

// Target is the container whose variables are turned. Kind is StatefulSet or Deployment; none is the former.
type Target struct {
	Kind, Namespace, Name, Container string
}

func (t Target) String() string { return strings.ToLower(t.kind()) + " " + t.Namespace + "/" + t.Name }

func (t Target) kind() string {
	if t.Kind == "" {
		return StatefulSet
	}
	return t.Kind
}

// resource is what the API calls the kind.
func (t Target) resource() string { return strings.ToLower(t.kind()) + "s" }

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

// Workload is the StatefulSet or Deployment behind the target.
type Workload struct {
	c       Config
	contest *contest
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
	// Pending are values that the running brokers have and their cluster keeps, and that the variables get with the next restart.
	Pending map[string]string

	notes   map[string]held      // of DynamicAnnotation
	writers map[string]time.Time // when others than this tuner wrote the spec last
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
	if k := c.Target.kind(); k != StatefulSet && k != Deployment {
		return nil, fmt.Errorf("apply: kind: want %s or %s (got %q)", StatefulSet, Deployment, k)
	}
	return &Workload{c: c, contest: &contest{}}, nil
}

// Look reads the target.
func (w *Workload) Look(ctx context.Context) (View, error) {
	o, container, err := w.get(ctx)
	if err != nil {
		return View{}, err
	}
	return w.view(o, container)
}

func (w *Workload) view(o *object, container *corev1.Container) (v View, err error) {
	v = View{Env: map[string]string{}, Generation: o.Generation, Memory: container.Resources.Limits.Memory().Value()}
	for _, e := range container.Env {
		if slices.Contains(w.c.Variables, e.Name) && e.ValueFrom == nil {
			v.Env[e.Name] = e.Value
		}
	}
	defer func() { w.contest.look(v) }()
	v.notes = notesOf(o)
	v.authors(o.ManagedFields, w.c.Target.Container, w.c.Variables)
	v.Rest, err = digest(o, w.c.Target.Container, w.c.Variables)
	return v, err
}

// digest leaves out the knobs' values and what Redeploy writes, so that our own changes do not alter it. It alters the object, which is nobody else's.
func digest(o *object, container string, variables []string) (string, error) {
	if delete(o.template.Annotations, RedeployAnnotation); len(o.template.Annotations) == 0 {
		o.template.Annotations = nil
	}
	for i := range o.template.Spec.Containers {
		c := &o.template.Spec.Containers[i]
		for j := range c.Env {
			if c.Name == container && slices.Contains(variables, c.Env[j].Name) {
				c.Env[j].Value = ""
			}
		}
	}
	return sum(o.spec)
}

func sum(spec any) (string, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("digest spec: %w", err)
	}
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:8]), nil
}

// ErrChanged says that the variable holds neither the old nor the new value: somebody else wrote it.
var ErrChanged = errors.New("changed by somebody else")

// Restarts says whether a change of the variable restarts the brokers, as each of the pod template does.
func (w *Workload) Restarts(string) bool { return true }

// ErrRefused says that the API server or a broker will not take the change: no right to it, an admission policy, an invalid object or value. Trying
// again is pointless.
var ErrRefused = errors.New("refused")

const conflictTries = 10 // the controller's status writes make conflicts too, several during a rollout

// Set changes one variable from old to new and returns the target as it is then. When it already is new nothing is sent.
func (w *Workload) Set(ctx context.Context, variable, old, new string) (View, error) {
	return w.set(ctx, variable, old, new, nil, w.contest.check)
}

// Restore is Set for a value that must not stay, however often somebody has put it there.
func (w *Workload) Restore(ctx context.Context, variable, old, new string) (View, error) {
	return w.set(ctx, variable, old, new, nil, anyway)
}

// set changes the variable if it may, and in the same patch those that are given beside it whatever they hold: one rollout is enough for all.
func (w *Workload) set(ctx context.Context, variable, old, new string, beside map[string]string, may rule) (View, error) {
	for try := 1; ; try++ {
		o, container, err := w.get(ctx)
		if err != nil {
			return View{}, err
		}
		value, plain := variableOf(container, variable)
		switch {
		case !plain:
			return View{}, fmt.Errorf("set %s: the container does not set it to a plain value: %w", variable, ErrChanged)
		case value != new && value != old:
			return View{}, fmt.Errorf("set %s to %q: want %q there (got %q): %w", variable, new, old, value, ErrChanged)
		}
		change := map[string]string{variable: new}
		maps.Copy(change, beside)
		maps.DeleteFunc(change, func(name, v string) bool { now, plain := variableOf(container, name); return !plain || now == v })
		if len(change) == 0 {
			w.contest.mine(variable, old, new)
			return w.view(o, container)
		}
		if err := may(variable); err != nil && value != new {
			return View{}, fmt.Errorf("set %s to %q: %w", variable, new, err)
		}
		if err := w.fenced(o); err != nil {
			return View{}, err
		}
		err = w.patch(ctx, o.ResourceVersion, change)
		if err == nil {
			w.contest.mine(variable, old, new)
			return w.Look(ctx)
		}
		if err := again(ctx, err, try); err != nil {
			return View{}, fmt.Errorf("patch %s of %s: %w", variable, w.c.Target, err)
		}
	}
}

// again waits a moment when a write met another one and is to be tried once more; otherwise it says how the write failed.
func again(ctx context.Context, err error, try int) error {
	switch {
	case apierrors.IsConflict(err) && try < conflictTries:
		return pause(ctx, time.Duration(try)*50*time.Millisecond)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// RedeployAnnotation of the pod template says for what the pods were made anew though nothing else was changed.
const RedeployAnnotation = "kafkalab.io/redeployed"

// Redeploy replaces every broker by a new one with the same configuration, once for each reason.
func (w *Workload) Redeploy(ctx context.Context, reason string) (View, error) {
	for try := 1; ; try++ {
		o, container, err := w.get(ctx)
		if err != nil {
			return View{}, err
		}
		if o.template.Annotations[RedeployAnnotation] == reason {
			return w.view(o, container)
		}
		if err := w.fenced(o); err != nil {
			return View{}, err
		}
		type fields = map[string]any
		err = w.write(ctx, types.StrategicMergePatchType, fields{
			"metadata": fields{"resourceVersion": o.ResourceVersion},
			"spec":     fields{"template": fields{"metadata": fields{"annotations": fields{RedeployAnnotation: reason}}}},
		})
		if err == nil {
			return w.Look(ctx)
		}
		if err := again(ctx, err, try); err != nil {
			return View{}, fmt.Errorf("redeploy %s: %w", w.c.Target, err)
		}
	}
}

func variableOf(c *corev1.Container, name string) (value string, plain bool) {
	i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
	if i < 0 || c.Env[i].ValueFrom != nil {
		return "", false
	}
	return c.Env[i].Value, true
}

// patch carries the resource version, so that the API server refuses it when anything changed since it was read. It merges by the names of
// container and variable, and leaves everything else to its owners; a server-side apply would have to own the variables already, or take them by
// force from whoever does.
func (w *Workload) patch(ctx context.Context, version string, values map[string]string) error {
	type fields = map[string]any
	var env []fields
	for _, name := range slices.Sorted(maps.Keys(values)) {
		env = append(env, fields{"name": name, "value": values[name]})
	}
	return w.write(ctx, types.StrategicMergePatchType, fields{
		"metadata": fields{"resourceVersion": version},
		"spec":     fields{"template": fields{"spec": fields{"containers": []fields{{"name": w.c.Target.Container, "env": env}}}}},
	})
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
