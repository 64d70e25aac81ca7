package apply_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/kafkalab/kafkalab/tuner/apply"
)

const heap = "KAFKA_HEAP_OPTS"

func statefulSet(change ...func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
	one := int32(1)
	s := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kafka", Name: "kafka", UID: "u1", Generation: 2},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &one, PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "kafka"}},
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{
				{Name: "sidecar", Env: []corev1.EnvVar{{Name: heap, Value: "not this one"}}},
				{
					Name: "kafka",
					Env: []corev1.EnvVar{
						{Name: "FIRST", Value: "1"}, {Name: heap, Value: "-Xms256m -Xmx256m"}, {Name: "KAFKA_NUM_IO_THREADS", Value: "2"},
						{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
					},
					Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("4Gi")}},
				},
			}}},
		},
		Status: appsv1.StatefulSetStatus{ObservedGeneration: 2, CurrentRevision: "r1", UpdateRevision: "r2", Replicas: 1},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func pod(revision string, change ...func(*corev1.Pod)) *corev1.Pod {
	yes := true
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "kafka", Name: "kafka-0", UID: "p1", Labels: map[string]string{"app": "kafka", appsv1.StatefulSetRevisionLabel: revision},
		OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: "kafka", UID: "u1", Controller: &yes}},
	}}
	for _, c := range change {
		c(p)
	}
	return p
}

func ready(p *corev1.Pod) {
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue})
}

func waiting(reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "kafka", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "so it says"}},
		}}
	}
}

func ended(reason string, code int32, restarts int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "kafka", RestartCount: restarts,
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: code}},
		}}
	}
}

func workload(t *testing.T, objects ...runtime.Object) (*apply.Workload, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset(objects...)
	w, err := apply.New(apply.Config{
		Client: client, Target: apply.Target{Namespace: "kafka", Name: "kafka", Container: "kafka"},
		Variables: []string{heap, "KAFKA_NUM_IO_THREADS", "POD_IP"}, Deadline: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, client
}

func get(t *testing.T, c *fake.Clientset) *appsv1.StatefulSet {
	t.Helper()
	s, err := c.AppsV1().StatefulSets("kafka").Get(t.Context(), "kafka", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSetChangesOneVariable(t *testing.T) {
	w, client := workload(t, statefulSet())
	if _, err := w.Set(t.Context(), heap, "-Xms256m -Xmx256m", "-Xms512m -Xmx512m"); err != nil {
		t.Fatal(err)
	}
	want := statefulSet(func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[1].Env[1].Value = "-Xms512m -Xmx512m" })
	if diff := cmp.Diff(want.Spec, get(t, client).Spec); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var patch k8stesting.PatchActionImpl
	for _, a := range client.Actions() {
		if p, ok := a.(k8stesting.PatchActionImpl); ok {
			patch = p
		}
	}
	if patch.PatchOptions.FieldManager != apply.Manager {
		t.Errorf("want field manager %s (got %q)", apply.Manager, patch.PatchOptions.FieldManager)
	}
	var body struct {
		Metadata struct{ ResourceVersion *string }
		Spec     struct {
			Template struct {
				Spec struct {
					Containers []struct{ Env []corev1.EnvVar }
				}
			}
		}
	}
	if err := json.Unmarshal(patch.Patch, &body); err != nil {
		t.Fatal(err)
	}
	if body.Metadata.ResourceVersion == nil || len(body.Spec.Template.Spec.Containers) != 1 || len(body.Spec.Template.Spec.Containers[0].Env) != 1 {
		t.Errorf("want one variable and the version in the patch (got %s)", patch.Patch)
	}
}

func patches(c *fake.Clientset) (n int) {
	for _, a := range c.Actions() {
		if a.GetVerb() == "patch" {
			n++
		}
	}
	return n
}

func TestSetIsIdempotentAndCareful(t *testing.T) {
	for name, c := range map[string]struct {
		variable, old, new string
		patches            int
		changed            bool
	}{
		"what is set already is not sent":   {heap, "-Xms128m -Xmx128m", "-Xms256m -Xmx256m", 0, false},
		"a third value is somebody else's":  {heap, "-Xms128m -Xmx128m", "-Xms512m -Xmx512m", 0, true},
		"a variable that is not there":      {"KAFKA_NUM_NETWORK_THREADS", "1", "2", 0, true},
		"a variable from elsewhere is left": {"POD_IP", "", "2", 0, true},
		"the old value is replaced":         {heap, "-Xms256m -Xmx256m", "-Xms512m -Xmx512m", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, client := workload(t, statefulSet())
			_, err := w.Set(t.Context(), c.variable, c.old, c.new)
			if errors.Is(err, apply.ErrChanged) != c.changed || !c.changed && err != nil {
				t.Errorf("want changed %v (got %v)", c.changed, err)
			}
			if got := patches(client); got != c.patches {
				t.Errorf("want %d patches (got %d)", c.patches, got)
			}
		})
	}
}

func TestSetAgainAfterConflicts(t *testing.T) {
	w, client := workload(t, statefulSet())
	var tries atomic.Int32
	client.PrependReactor("patch", "statefulsets", func(k8stesting.Action) (bool, runtime.Object, error) {
		if tries.Add(1) <= 3 {
			return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "statefulsets"}, "kafka", errors.New("changed"))
		}
		return false, nil, nil
	})
	if _, err := w.Set(t.Context(), heap, "-Xms256m -Xmx256m", "-Xms512m -Xmx512m"); err != nil || tries.Load() != 4 {
		t.Errorf("want it set at the fourth try (got %v after %d)", err, tries.Load())
	}
}

func TestSetRefused(t *testing.T) {
	resource := schema.GroupResource{Resource: "statefulsets"}
	for name, refusal := range map[string]error{
		"no right":         apierrors.NewForbidden(resource, "kafka", errors.New("policy")),
		"an invalid value": apierrors.NewInvalid(schema.GroupKind{Kind: "StatefulSet"}, "kafka", nil),
	} {
		t.Run(name, func(t *testing.T) {
			w, client := workload(t, statefulSet())
			client.PrependReactor("patch", "statefulsets", func(k8stesting.Action) (bool, runtime.Object, error) { return true, nil, refusal })
			if _, err := w.Set(t.Context(), heap, "-Xms256m -Xmx256m", "-Xms512m -Xmx512m"); !errors.Is(err, apply.ErrRefused) {
				t.Errorf("want it refused (got %v)", err)
			}
		})
	}
}

func TestLook(t *testing.T) {
	w, client := workload(t, statefulSet())
	first, err := w.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{heap: "-Xms256m -Xmx256m", "KAFKA_NUM_IO_THREADS": "2"}
	if diff := cmp.Diff(want, first.Env); diff != "" || first.Memory != 4<<30 {
		t.Errorf("want the knobs and the limit (got memory %d)\n%s", first.Memory, diff)
	}
	for name, c := range map[string]struct {
		change func(*appsv1.StatefulSet)
		same   bool
	}{
		"a knob":                 {func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[1].Env[1].Value = "x" }, true},
		"the status":             {func(s *appsv1.StatefulSet) { s.Status.ReadyReplicas = 1 }, true},
		"another variable":       {func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[1].Env[0].Value = "2" }, false},
		"the sidecar's variable": {func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[0].Env[0].Value = "2" }, false},
		"the image":              {func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[1].Image = "x" }, false},
		"kubectl rollout restart": {func(s *appsv1.StatefulSet) {
			s.Spec.Template.Annotations = map[string]string{"kubectl.kubernetes.io/restartedAt": "now"}
		}, false},
		"the replicas": {func(s *appsv1.StatefulSet) { *s.Spec.Replicas = 3 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := client.Tracker().Update(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}, statefulSet(c.change), "kafka"); err != nil {
				t.Fatal(err)
			}
			v, err := w.Look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if (v.Rest == first.Rest) != c.same {
				t.Errorf("want the rest the same: %v (got %s and %s)", c.same, first.Rest, v.Rest)
			}
		})
	}
}

func TestAuthors(t *testing.T) {
	at := func(minute int) *metav1.Time {
		m := metav1.NewTime(time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC))
		return &m
	}
	field := func(variable string) *metav1.FieldsV1 {
		return &metav1.FieldsV1{Raw: fmt.Appendf(nil, `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"kafka\"}":{"f:env":{"k:{\"name\":\"%s\"}":{".":{},"f:name":{},"f:value":{}}}}}}}}}`, variable)}
	}
	w, _ := workload(t, statefulSet(func(s *appsv1.StatefulSet) {
		s.ManagedFields = []metav1.ManagedFieldsEntry{
			{Manager: "kubectl-client-side-apply", Time: at(1), FieldsV1: field("KAFKA_NUM_IO_THREADS")},
			{Manager: apply.Manager, Time: at(2), FieldsV1: field(heap)},
			{Manager: "kubectl-patch", Time: at(3), FieldsV1: field("KAFKA_NUM_IO_THREADS")},
			{Manager: "kube-controller-manager", Subresource: "status", Time: at(9), FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:status":{}}`)}},
			{Manager: "broken", Time: at(9), FieldsV1: &metav1.FieldsV1{Raw: []byte(`{`)}},
		}
	}))
	v, err := w.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !v.ByUs(heap) || v.ByUs("KAFKA_NUM_IO_THREADS") {
		t.Errorf("want the heap ours and the threads not (got %+v)", v.Authors)
	}
	if got := v.Author("KAFKA_NUM_IO_THREADS"); got != "kubectl-patch" {
		t.Errorf("want kubectl-patch (got %s)", got)
	}
	if got := v.Author(heap); got != "kubectl-patch" {
		t.Errorf("want the newest other writer when the variable is ours (got %s)", got)
	}
	if got := (apply.View{}).Author(heap); got != "unknown" {
		t.Errorf("want unknown when nobody says (got %s)", got)
	}
	for variable, want := range map[string]string{heap: "unknown (under the name of the tuner)", "KAFKA_NUM_IO_THREADS": "kubectl-patch"} {
		before := v
		before.Env = maps.Clone(v.Env)
		before.Env[variable] = "as it was when the tuner had written last"
		if o := v.Since(before); o == nil || o.Author != want {
			t.Errorf("%s: want it put down to %s (got %+v)", variable, want, o)
		}
	}
}

func TestRollout(t *testing.T) {
	oom := ended("OOMKilled", 137, 1)
	for name, c := range map[string]struct {
		set  *appsv1.StatefulSet
		pods []*corev1.Pod
		want apply.Class
	}{
		"the new pod is ready":                           {statefulSet(), []*corev1.Pod{pod("r2", ready)}, ""},
		"only the old pod is ready":                      {statefulSet(), []*corev1.Pod{pod("r1", ready)}, apply.Deadline},
		"no pod at all":                                  {statefulSet(), nil, apply.Deadline},
		"the controller has not seen the change":         {statefulSet(func(s *appsv1.StatefulSet) { s.Generation = 3 }), []*corev1.Pod{pod("r2", ready)}, apply.Deadline},
		"the image cannot be pulled":                     {statefulSet(), []*corev1.Pod{pod("r2", waiting("ImagePullBackOff"))}, apply.Image},
		"the image is not there and may not be pulled":   {statefulSet(), []*corev1.Pod{pod("r2", waiting("ErrImageNeverPull"))}, apply.Image},
		"a crash loop":                                   {statefulSet(), []*corev1.Pod{pod("r2", waiting("CrashLoopBackOff"))}, apply.CrashLoop},
		"two crashes":                                    {statefulSet(), []*corev1.Pod{pod("r2", ended("Error", 1, 2))}, apply.CrashLoop},
		"one crash may be chance":                        {statefulSet(), []*corev1.Pod{pod("r2", ended("Error", 1, 1))}, apply.Deadline},
		"killed for memory":                              {statefulSet(), []*corev1.Pod{pod("r2", oom)}, apply.OutOfMemory},
		"a configuration the kubelet refuses":            {statefulSet(), []*corev1.Pod{pod("r2", waiting("CreateContainerConfigError"))}, apply.ContainerConfig},
		"no node has room":                               {statefulSet(), []*corev1.Pod{pod("r2", unschedulable)}, apply.Unschedulable},
		"a broken pod of the old template is not blamed": {statefulSet(), []*corev1.Pod{pod("r1", waiting("CrashLoopBackOff"))}, apply.Deadline},
		"another workload's pod does not count":          {statefulSet(), []*corev1.Pod{pod("r2", ready), pod("r2", stranger, waiting("CrashLoopBackOff"))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				objects := []runtime.Object{c.set}
				for _, p := range c.pods {
					objects = append(objects, p)
				}
				w, _ := workload(t, objects...)
				err := w.Rollout(t.Context())
				if got := apply.ClassOf(err); got != c.want || c.want == "" && err != nil {
					t.Errorf("want class %q (got %v)", c.want, err)
				}
			})
		})
	}
}

func TestLives(t *testing.T) {
	alive := []*corev1.Pod{pod("r2", ready, ended("Error", 1, 1))}
	for name, c := range map[string]struct {
		now  []*corev1.Pod
		want apply.Class
		says string
	}{
		"it lives on":                    {alive, "", ""},
		"another workload's pod is born": {append([]*corev1.Pod{pod("r2", stranger)}, alive...), "", ""},
		"killed for memory, ready again": {[]*corev1.Pod{pod("r2", ready, ended("OOMKilled", 137, 2))}, apply.OutOfMemory, "exit code 137"},
		"crashed, ready again":           {[]*corev1.Pod{pod("r2", ready, ended("Error", 3, 2))}, apply.CrashLoop, "exit code 3"},
		"another pod of the same name":   {[]*corev1.Pod{pod("r2", ready, func(p *corev1.Pod) { p.UID = "p2" })}, apply.Replaced, "kafka-0"},
		"the pod is gone":                {nil, apply.Replaced, "kafka-0"},
		"the sidecar's crash is not its": {[]*corev1.Pod{pod("r2", ready, ended("Error", 1, 1), sidecarCrashed)}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			lives := func(pods []*corev1.Pod) apply.Lives {
				objects := []runtime.Object{statefulSet()}
				for _, p := range pods {
					objects = append(objects, p)
				}
				w, _ := workload(t, objects...)
				l, err := w.Lives(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
			var got apply.Class
			died := lives(c.now).Since(lives(alive))
			if died != nil {
				got = died.Class
			}
			if got != c.want || died != nil && !strings.Contains(died.Detail, c.says) {
				t.Errorf("want class %q with %q (got %v)", c.want, c.says, died)
			}
		})
	}
}

func sidecarCrashed(p *corev1.Pod) {
	p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: "sidecar", RestartCount: 7})
}

func unschedulable(p *corev1.Pod) {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes"}}
}

func stranger(p *corev1.Pod) {
	p.Name, p.OwnerReferences[0].Name, p.OwnerReferences[0].UID = "other-0", "other", "u2"
}

func TestRolloutWithoutAnAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, client := workload(t, statefulSet(), pod("r2", ready))
		until := time.Now().Add(30 * time.Second)
		client.PrependReactor("*", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
			return time.Now().Before(until), nil, apierrors.NewServiceUnavailable("restarting")
		})
		if err := w.Rollout(t.Context()); err != nil {
			t.Errorf("want it to wait for the server's return (got %v)", err)
		}
		until = time.Now().Add(time.Hour)
		if got := apply.ClassOf(w.Rollout(t.Context())); got != apply.API {
			t.Errorf("want class %s when it stays away (got %q)", apply.API, got)
		}
	})
}

// TestForcedRollback: with OrderedReady the controller leaves a broken pod of a template that was taken back. Whoever only waits leaves it too: it
// may be somebody else's.
func TestForcedRollback(t *testing.T) {
	for name, c := range map[string]struct {
		policy appsv1.PodManagementPolicyType
		pod    *corev1.Pod
		delete bool
	}{
		"a broken pod under OrderedReady":   {appsv1.OrderedReadyPodManagement, pod("r1", waiting("CrashLoopBackOff")), true},
		"a broken pod under Parallel":       {appsv1.ParallelPodManagement, pod("r1", waiting("CrashLoopBackOff")), false},
		"a ready pod under OrderedReady":    {appsv1.OrderedReadyPodManagement, pod("r1", ready), false},
		"a starting pod under OrderedReady": {appsv1.OrderedReadyPodManagement, pod("r1"), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, client := workload(t, statefulSet(func(s *appsv1.StatefulSet) { s.Spec.PodManagementPolicy = c.policy }), c.pod)
				deleted := func() bool {
					return slices.ContainsFunc(client.Actions(), func(a k8stesting.Action) bool { return a.GetVerb() == "delete" })
				}
				_ = w.Rollout(t.Context()) // no controller makes the next pod here
				if deleted() {
					t.Error("Rollout: want nothing deleted")
				}
				_ = w.Rollback(t.Context())
				if deleted() != c.delete {
					t.Errorf("Rollback: want deleted %v (got %v)", c.delete, !c.delete)
				}
			})
		})
	}
}

func TestRolloutEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := workload(t, statefulSet(), pod("r1", ready))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := w.Rollout(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("want the caller's end (got %v)", err)
		}
	})
}

func TestEvents(t *testing.T) {
	w, client := workload(t, statefulSet())
	e := apply.Event{ID: "t1", Reason: "TuningKept", Message: strings.Repeat("ä", 2000), Time: time.Now()}
	for range 2 { // sent twice, seen once
		if err := w.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	e.ID = "t2"
	if err := w.Emit(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	list, err := client.CoreV1().Events("kafka").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("want two events (got %d, %v)", len(list.Items), err)
	}
	got := list.Items[0]
	if got.InvolvedObject.Kind != "StatefulSet" || got.InvolvedObject.UID != "u1" || got.Reason != "TuningKept" || got.Source.Component != apply.Manager || len(got.Message) > 1024 {
		t.Errorf("want it on the StatefulSet, short enough (got %+v)", got)
	}
	if !json.Valid([]byte(`"`+got.Message+`"`)) || strings.ContainsRune(got.Message, '\uFFFD') {
		t.Error("the message was cut inside a letter")
	}
}

func TestMemory(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "4Gi": 4 << 30, "1500M": 1_500_000_000} {
		if got, err := apply.ParseMemory(text); err != nil || got != want {
			t.Errorf("%q: want %d (got %d, %v)", text, want, got, err)
		}
	}
	for _, text := range []string{"much", "-1Gi", "0"} {
		if got, err := apply.ParseMemory(text); err == nil {
			t.Errorf("%q: want it refused (got %d)", text, got)
		}
	}
}
