package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/kafkalab/kafkalab/tuner/space"
)

// StrimziConfig of a Strimzi. Client, Resources, Namespace, Name, Variables and Brokers are required.
type StrimziConfig struct {
	Client    kubernetes.Interface
	Resources dynamic.Interface
	Namespace string
	Name      string   // of the Kafka resource
	Variables []string // named as in Kafka's own image: KAFKA_HEAP_OPTS, KAFKA_NUM_IO_THREADS
	Brokers   Brokers
	Dynamic   []string // of Variables: settings that a running broker takes, so that the operator restarts nothing for them
	Version   string   // of the API; default v1
	Deadline  time.Duration
	Poll      time.Duration
	Logger    *slog.Logger
	Term      int64 // of the lease under which it writes; 0: no lease is held
}

// Strimzi is a Kafka resource of Strimzi's. Only its spec.kafka.config and the heap in spec.kafka.jvmOptions are changed: what the operator makes
// of it, it would put back.
//
// The operator sends a changed setting to the running brokers, and restarts them when they refuse it; a pool of threads that is more than doubled
// it restarts again and again. So such a value is brought there in hops, and each is waited for.
type Strimzi struct {
	c       StrimziConfig
	contest *contest
}

const (
	strimziContainer = "kafka"
	strimziCluster   = "strimzi.io/cluster" // the label of everything that belongs to a Kafka resource
	strimziPaused    = "strimzi.io/pause-reconciliation"
	heapVariable     = "KAFKA_HEAP_OPTS"
)

// NewStrimzi checks its configuration; it does not connect.
func NewStrimzi(c StrimziConfig) (*Strimzi, error) {
	if c.Client == nil || c.Resources == nil || c.Namespace == "" || c.Name == "" || len(c.Variables) == 0 || len(c.Brokers.Bootstrap) == 0 {
		return nil, errors.New("apply: client, resources, namespace, name, variables and brokers are required")
	}
	for _, v := range c.Variables {
		if v != heapVariable && !strings.HasPrefix(v, "KAFKA_") {
			return nil, fmt.Errorf("apply: variables: want %s or KAFKA_ and a setting's name, as in KAFKA_NUM_IO_THREADS (got %q)", heapVariable, v)
		}
	}
	if c.Version == "" {
		c.Version = "v1"
	}
	if c.Deadline <= 0 {
		c.Deadline = 10 * time.Minute // the operator rolls one broker after the other, and looks at the resource every two minutes at worst
	}
	if c.Poll <= 0 {
		c.Poll = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Strimzi{c: c, contest: &contest{}}, nil
}

// Under is the resource as the holder of this term of the lease writes to it, see Workload.
func (s *Strimzi) Under(term int64) *Strimzi {
	under := *s
	under.c.Term = term
	return &under
}

// Claim marks the resource with the term. The operator finds nothing in it that it would act on.
func (s *Strimzi) Claim(ctx context.Context) error {
	read := func() (metav1.Object, error) { return s.get(ctx) }
	return claim(ctx, s, s.c.Term, read, func(body any) error { return s.send(ctx, body) })
}

// Highest is the highest term under which the resource was claimed; 0: never.
func (s *Strimzi) Highest(ctx context.Context) (int64, error) {
	u, err := s.get(ctx)
	if err != nil {
		return 0, err
	}
	return termIn(u.GetAnnotations()), nil
}

// Restarts says whether the operator restarts the brokers for a change of the variable.
func (s *Strimzi) Restarts(variable string) bool { return !slices.Contains(s.c.Dynamic, variable) }

func (s *Strimzi) String() string { return "kafka " + s.c.Namespace + "/" + s.c.Name }

func (s *Strimzi) resource(plural string) dynamic.ResourceInterface {
	return s.c.Resources.Resource(schema.GroupVersionResource{Group: "kafka.strimzi.io", Version: s.c.Version, Resource: plural}).Namespace(s.c.Namespace)
}

func (s *Strimzi) get(ctx context.Context) (*unstructured.Unstructured, error) {
	u, err := s.resource("kafkas").Get(ctx, s.c.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", s, err)
	}
	return u, nil
}

// Look reads the resource.
func (s *Strimzi) Look(ctx context.Context) (View, error) {
	u, err := s.get(ctx)
	if err != nil {
		return View{}, err
	}
	return s.view(u)
}

func (s *Strimzi) view(u *unstructured.Unstructured) (View, error) {
	v := View{Env: map[string]string{}, Generation: u.GetGeneration()}
	for _, variable := range s.c.Variables {
		if text, has := strimziValue(u, variable); has {
			v.Env[variable] = text
		}
	}
	if text, has, _ := unstructured.NestedString(u.Object, "spec", "kafka", "resources", "limits", "memory"); has {
		v.Memory, _ = ParseMemory(text) // a limit that is none is not known
	}
	v.strimziAuthors(u.GetManagedFields(), s.c.Variables)
	s.contest.look(v)
	var err error
	v.Rest, err = s.digest(u)
	return v, err
}

// strimziValue is the text as the variable would have it.
func strimziValue(u *unstructured.Unstructured, variable string) (string, bool) {
	if variable == heapVariable {
		options, _, _ := unstructured.NestedMap(u.Object, "spec", "kafka", "jvmOptions")
		initial, hasInitial := options["-Xms"].(string)
		highest, hasHighest := options["-Xmx"].(string)
		return "-Xms" + mebibytes(initial) + " -Xmx" + mebibytes(highest), hasInitial && hasHighest
	}
	config, _, _ := unstructured.NestedMap(u.Object, "spec", "kafka", "config")
	value, has := config[space.Setting(variable)]
	return fmt.Sprint(value), has && value != nil // people write numbers, and texts
}

// mebibytes writes a size of a heap in the unit that knobs have: 1g is 1024m.
func mebibytes(text string) string {
	var n int64
	var unit string
	if _, err := fmt.Sscanf(strings.ToLower(text), "%d%s", &n, &unit); err == nil && unit == "g" {
		return fmt.Sprintf("%dm", n<<10)
	}
	return strings.ToLower(text)
}

// digest is of the spec without the knobs' values and what Redeploy writes.
func (s *Strimzi) digest(u *unstructured.Unstructured) (string, error) {
	spec, _, err := unstructured.NestedMap(u.Object, "spec") // a copy
	if err != nil {
		return "", fmt.Errorf("digest %s: %w", s, err)
	}
	unstructured.RemoveNestedField(spec, redeployPath...)
	for n := len(redeployPath) - 1; n > 1; n-- { // what was made for it alone goes with it
		if m, _, _ := unstructured.NestedMap(spec, redeployPath[:n]...); len(m) == 0 {
			unstructured.RemoveNestedField(spec, redeployPath[:n]...)
		}
	}
	for _, variable := range s.c.Variables {
		for _, p := range strimziPaths(variable) {
			if _, has, _ := unstructured.NestedFieldNoCopy(spec, p...); has {
				_ = unstructured.SetNestedField(spec, "", p...) // it is there, so its parents are objects
			}
		}
	}
	return sum(spec)
}

// strimziPaths are the fields below spec that a variable stands for.
func strimziPaths(variable string) [][]string {
	if variable == heapVariable {
		return [][]string{{"kafka", "jvmOptions", "-Xms"}, {"kafka", "jvmOptions", "-Xmx"}}
	}
	return [][]string{{"kafka", "config", space.Setting(variable)}}
}

func (v *View) strimziAuthors(fields []metav1.ManagedFieldsEntry, variables []string) {
	v.authorsOf(fields, func(tree map[string]any, variable string) bool {
		for _, p := range strimziPaths(variable) {
			path := []string{"f:spec"}
			for _, name := range p {
				path = append(path, "f:"+name)
			}
			if within(tree, path...) != nil {
				return true
			}
		}
		return false
	}, variables)
}

// Set changes one variable from old to new, a pool of threads in hops. What a killed tuner left half-way is gone on with.
func (s *Strimzi) Set(ctx context.Context, variable, old, new string) (View, error) {
	return s.set(ctx, variable, old, new, s.contest.check)
}

// Restore is Set for a value that must not stay, however often somebody has put it there.
func (s *Strimzi) Restore(ctx context.Context, variable, old, new string) (View, error) {
	return s.set(ctx, variable, old, new, anyway)
}

func (s *Strimzi) set(ctx context.Context, variable, old, new string, may rule) (View, error) {
	u, err := s.get(ctx)
	if err != nil {
		return View{}, err
	}
	now, _ := strimziValue(u, variable)
	if err := may(variable); err != nil && now != new {
		return View{}, fmt.Errorf("set %s to %q: %w", variable, new, err)
	}
	name := space.Setting(variable)
	ours := append(append(path(name, old, new), path(name, new, old)...), old, new)
	if !slices.Contains(ours, now) {
		return View{}, fmt.Errorf("set %s to %q: want %q there (got %q): %w", variable, new, old, now, ErrChanged)
	}
	if err := s.effective(ctx, u, variable); err != nil {
		return View{}, err
	}
	if err := s.walk(ctx, variable, now, new); err != nil {
		if errors.Is(err, ErrRefused) && !errors.Is(err, ErrContested) {
			err = errors.Join(err, s.back(ctx, variable, old))
		}
		return View{}, err
	}
	return s.Look(ctx)
}

// effective refuses a change that would be written and never arrive.
func (s *Strimzi) effective(ctx context.Context, u *unstructured.Unstructured, variable string) error {
	if u.GetAnnotations()[strimziPaused] == "true" {
		return fmt.Errorf("set %s: %w: the operator leaves %s alone, since its annotation %s is true", variable, ErrRefused, s, strimziPaused)
	}
	if variable != heapVariable {
		return nil
	}
	pools, err := s.resource("kafkanodepools").List(ctx, metav1.ListOptions{LabelSelector: strimziCluster + "=" + s.c.Name})
	if err != nil {
		return fmt.Errorf("list node pools of %s: %w", s, err)
	}
	for _, p := range pools.Items {
		if _, own, _ := unstructured.NestedMap(p.Object, "spec", "jvmOptions"); own {
			return fmt.Errorf("set %s: %w: node pool %s has jvmOptions of its own, which hide those of %s", variable, ErrRefused, p.GetName(), s)
		}
	}
	return nil
}

// walk writes hop after hop. All but the last are waited for here; the last one's rollout is the caller's to wait for.
func (s *Strimzi) walk(ctx context.Context, variable, from, to string) error {
	way := path(space.Setting(variable), from, to)
	if len(way) > 1 || variable != heapVariable && from == to {
		// A hop that a killed tuner wrote last may not have arrived.
		if err := s.arrived(ctx, variable, from); err != nil {
			return err
		}
	}
	for i, hop := range way {
		if err := s.write(ctx, variable, from, hop); err != nil {
			return err
		}
		if i < len(way)-1 {
			if err := s.arrived(ctx, variable, hop); err != nil {
				return err
			}
		}
		from = hop
	}
	return nil
}

// back ends an attempt that was refused half-way.
func (s *Strimzi) back(ctx context.Context, variable, old string) error {
	u, err := s.get(ctx)
	if err != nil {
		return err
	}
	now, _ := strimziValue(u, variable)
	if err := s.walk(ctx, variable, now, old); err != nil {
		return fmt.Errorf("and going back failed: %w", err)
	}
	return nil
}

// write puts one value into the resource, if that still holds the one before.
func (s *Strimzi) write(ctx context.Context, variable, old, new string) error {
	for try := 1; ; try++ {
		u, err := s.get(ctx)
		if err != nil {
			return err
		}
		now, _ := strimziValue(u, variable)
		switch {
		case now == new:
			s.contest.mine(variable, old, new)
			return nil
		case now != old:
			return fmt.Errorf("set %s to %q: want %q there (got %q): %w", variable, new, old, now, ErrChanged)
		}
		if err := fenced(s, s.c.Term, u); err != nil {
			return err
		}
		s.c.Logger.Info("change the Kafka resource", "variable", variable, "value", new)
		err = s.patch(ctx, u, variable, new)
		if err == nil {
			s.contest.mine(variable, old, new)
			return nil
		}
		if err := again(ctx, err, try); err != nil {
			return fmt.Errorf("patch %s of %s: %w", variable, s, err)
		}
	}
}

// redeployPath is an annotation of the brokers' pods, for which the operator makes them anew.
var redeployPath = []string{"kafka", "template", "pod", "metadata", "annotations", RedeployAnnotation}

// Redeploy has the operator replace every broker by a new one with the same configuration, once for each reason.
func (s *Strimzi) Redeploy(ctx context.Context, reason string) (View, error) {
	for try := 1; ; try++ {
		u, err := s.get(ctx)
		if err != nil {
			return View{}, err
		}
		if now, _, _ := unstructured.NestedString(u.Object, append([]string{"spec"}, redeployPath...)...); now == reason {
			return s.view(u)
		}
		if err := fenced(s, s.c.Term, u); err != nil {
			return View{}, err
		}
		body := map[string]any{"metadata": map[string]any{"resourceVersion": u.GetResourceVersion()}}
		if err := unstructured.SetNestedField(body, reason, append([]string{"spec"}, redeployPath...)...); err != nil {
			return View{}, err
		}
		if err = s.send(ctx, body); err == nil {
			return s.Look(ctx)
		}
		if err := again(ctx, err, try); err != nil {
			return View{}, fmt.Errorf("redeploy %s: %w", s, err)
		}
	}
}

func (s *Strimzi) patch(ctx context.Context, u *unstructured.Unstructured, variable, value string) error {
	type fields = map[string]any
	kafka := fields{"config": fields{space.Setting(variable): number(value)}}
	if variable == heapVariable {
		var initial, highest string
		if _, err := fmt.Sscanf(value, "-Xms%s -Xmx%s", &initial, &highest); err != nil {
			return fmt.Errorf("%w: want the form -Xms512m -Xmx512m (got %q)", ErrRefused, value)
		}
		kafka = fields{"jvmOptions": fields{"-Xms": initial, "-Xmx": highest}}
	}
	return s.send(ctx, fields{"metadata": fields{"resourceVersion": u.GetResourceVersion()}, "spec": fields{"kafka": kafka}})
}

// send merges the body into the resource.
func (s *Strimzi) send(ctx context.Context, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	_, err = s.resource("kafkas").Patch(ctx, s.c.Name, types.MergePatchType, text, metav1.PatchOptions{FieldManager: Manager})
	return err
}

// number keeps a number a number, as people write it there.
func number(text string) any {
	var n json.Number
	if json.Unmarshal([]byte(text), &n) == nil {
		return n
	}
	return text
}

// arrived waits until the operator is done with the resource and every broker has the value.
func (s *Strimzi) arrived(ctx context.Context, variable, value string) error {
	name := space.Setting(variable)
	err := s.await(ctx, variable, value, func(ctx context.Context) (bool, string, error) {
		now, err := s.c.Brokers.Settings(ctx, name)
		if err != nil {
			return false, "", err
		}
		common, err := now.Common(name)
		if err != nil {
			return false, err.Error(), nil
		}
		return common == value, fmt.Sprintf("the brokers have %s", common), nil
	})
	var failed *RolloutError
	if errors.As(err, &failed) {
		return fmt.Errorf("set %s to %q: %w: %w", variable, value, ErrRefused, err)
	}
	return err
}

// Rollout waits until the operator has brought the resource to the brokers, and all of them are ready.
func (s *Strimzi) Rollout(ctx context.Context) error { return s.await(ctx, "", "", nil) }

// Rollback is Rollout: broken brokers are the operator's to replace.
func (s *Strimzi) Rollback(ctx context.Context) error { return s.Rollout(ctx) }

// Lives looks at the brokers' pods.
func (s *Strimzi) Lives(ctx context.Context) (Lives, error) {
	pods, err := s.pods(ctx)
	if err != nil {
		return nil, err
	}
	lives := Lives{}
	for i := range pods {
		lives[pods[i].Name] = lifeOf(&pods[i], strimziContainer)
	}
	return lives, nil
}

func (s *Strimzi) pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := s.c.Client.CoreV1().Pods(s.c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: strimziCluster + "=" + s.c.Name + ",strimzi.io/broker-role=true"})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", s, err)
	}
	return list.Items, nil
}

// Emit writes an event on the resource.
func (s *Strimzi) Emit(ctx context.Context, e Event) error {
	u, err := s.get(ctx)
	if err != nil {
		return fmt.Errorf("emit event: %w", err)
	}
	return emit(ctx, s.c.Client, corev1.ObjectReference{
		APIVersion: u.GetAPIVersion(), Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName(), UID: u.GetUID(), ResourceVersion: u.GetResourceVersion(),
	}, e)
}

// Rights asks for everything that a change may need.
func (s *Strimzi) Rights(ctx context.Context) error {
	return may(ctx, s.c.Client, s.c.Namespace, []right{
		{[]string{"get", "patch"}, "kafka.strimzi.io", "kafkas", s.c.Name},
		{[]string{"list"}, "kafka.strimzi.io", "kafkanodepools", ""},
		{[]string{"list"}, "", "pods", ""},
		{[]string{"create"}, "", "events", ""},
	})
}
