package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// The kinds of workload.
const (
	StatefulSet = "StatefulSet"
	Deployment  = "Deployment"
)

// object is a StatefulSet or a Deployment, as far as they are alike.
type object struct {
	metav1.ObjectMeta
	kind     string
	spec     any // a copy, with template in it
	template *corev1.PodTemplateSpec
	selector *metav1.LabelSelector
	replicas int
	observed int64  // the generation that the controller has seen
	revision string // of the newest template
	ordered  bool   // a broken pod is waited for, even after its template was put right
	quiet    bool   // a change of the template restarts no pod
}

// get reads the workload and finds the container in it.
func (w *Workload) get(ctx context.Context) (*object, *corev1.Container, error) {
	t := w.c.Target
	o, err := w.read(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("get %s: %w", t, err)
	}
	containers := o.template.Spec.Containers
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == t.Container })
	if i < 0 {
		return nil, nil, fmt.Errorf("get %s: it has no container %q", t, t.Container)
	}
	return o, &containers[i], nil
}

func (w *Workload) read(ctx context.Context) (*object, error) {
	t, apps := w.c.Target, w.c.Client.AppsV1()
	if t.Kind == Deployment {
		d, err := apps.Deployments(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return deployment(d), nil
	}
	s, err := apps.StatefulSets(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return statefulSet(s), nil
}

func statefulSet(s *appsv1.StatefulSet) *object {
	spec := s.Spec.DeepCopy()
	o := &object{
		ObjectMeta: s.ObjectMeta, kind: StatefulSet, spec: spec, template: &spec.Template, selector: spec.Selector, replicas: 1,
		observed: s.Status.ObservedGeneration, revision: s.Status.UpdateRevision,
		ordered: spec.PodManagementPolicy == "" || spec.PodManagementPolicy == appsv1.OrderedReadyPodManagement,
		quiet:   spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType,
	}
	if spec.Replicas != nil {
		o.replicas = int(*spec.Replicas)
	}
	if r := spec.UpdateStrategy.RollingUpdate; r != nil && r.Partition != nil && int(*r.Partition) >= o.replicas {
		o.quiet = true
	}
	return o
}

// revisionAnnotation is how a Deployment and its ReplicaSets number the templates.
const revisionAnnotation = "deployment.kubernetes.io/revision"

func deployment(d *appsv1.Deployment) *object {
	spec := d.Spec.DeepCopy()
	o := &object{
		ObjectMeta: d.ObjectMeta, kind: Deployment, spec: spec, template: &spec.Template, selector: spec.Selector, replicas: 1,
		observed: d.Status.ObservedGeneration, revision: d.Annotations[revisionAnnotation], quiet: spec.Paused,
	}
	if spec.Replicas != nil {
		o.replicas = int(*spec.Replicas)
	}
	return o
}

// write sends a patch of the workload, whatever its kind is.
func (w *Workload) write(ctx context.Context, kind types.PatchType, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	t, apps, options := w.c.Target, w.c.Client.AppsV1(), metav1.PatchOptions{FieldManager: Manager}
	if t.Kind == Deployment {
		_, err = apps.Deployments(t.Namespace).Patch(ctx, t.Name, kind, text, options)
	} else {
		_, err = apps.StatefulSets(t.Namespace).Patch(ctx, t.Name, kind, text, options)
	}
	return err
}

// member is a pod of the workload; newest says that it was made of the newest template.
type member struct {
	corev1.Pod
	newest bool
}

func (w *Workload) pods(ctx context.Context, o *object) ([]member, error) {
	options := metav1.ListOptions{LabelSelector: labels.SelectorFromSet(o.selector.MatchLabels).String()}
	owners := map[types.UID]string{} // the template that an owner's pods are made of; for a StatefulSet the pod itself says so
	if o.kind == Deployment {
		sets, err := w.c.Client.AppsV1().ReplicaSets(o.Namespace).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list replica sets of %s: %w", w.c.Target, err)
		}
		for i := range sets.Items {
			if s := &sets.Items[i]; metav1.IsControlledBy(s, o) {
				owners[s.UID] = s.Annotations[revisionAnnotation]
			}
		}
	}
	list, err := w.c.Client.CoreV1().Pods(o.Namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", w.c.Target, err)
	}
	var own []member
	for _, p := range list.Items {
		owner := metav1.GetControllerOf(&p)
		switch {
		case owner == nil:
		case o.kind == Deployment:
			if revision, is := owners[owner.UID]; is {
				own = append(own, member{p, revision == o.revision})
			}
		case owner.UID == o.UID:
			own = append(own, member{p, p.Labels[appsv1.StatefulSetRevisionLabel] == o.revision})
		}
	}
	return own, nil
}
