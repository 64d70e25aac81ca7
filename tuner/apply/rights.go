package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// right is something that has to be allowed in the target's namespace.
type right struct {
	verbs           []string
	group, resource string
	name            string // empty: all of them
}

// Rights asks the API server whether it will let the tuner do everything that a change may need: to find it out in the middle of one would leave
// the target between two values. The error names each right that is missing.
func (w *Workload) Rights(ctx context.Context) error {
	o, err := w.read(ctx)
	if err != nil {
		return fmt.Errorf("check rights: %w", err)
	}
	t := w.c.Target
	need := []right{
		{[]string{"get", "patch"}, "apps", t.resource(), t.Name},
		{[]string{"list"}, "", "pods", ""},
		{[]string{"create"}, "", "events", ""},
	}
	if o.ordered {
		need = append(need, right{[]string{"delete"}, "", "pods", ""})
	}
	if t.Kind == Deployment {
		need = append(need, right{[]string{"list"}, "apps", "replicasets", ""})
	}
	return may(ctx, w.c.Client, t.Namespace, need)
}

// may asks for each verb.
func may(ctx context.Context, client kubernetes.Interface, namespace string, need []right) error {
	var missing []error
	for _, r := range need {
		for _, verb := range r.verbs {
			answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: namespace, Verb: verb, Group: r.group, Resource: r.resource, Name: r.name,
				}},
			}, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("check rights: may I %s %s: %w", verb, r, err)
			}
			if !answer.Status.Allowed {
				missing = append(missing, fmt.Errorf("no right to %s %s in namespace %s", verb, r, namespace))
			}
		}
	}
	return errors.Join(missing...)
}

func (r right) String() string {
	said := r.resource
	if r.group != "" {
		said += "." + r.group
	}
	return strings.TrimSpace(said + " " + r.name)
}
