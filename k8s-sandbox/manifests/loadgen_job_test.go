package manifests_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	security "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

var jobFolder = filepath.Join("components", "loadgen-job")

func loadgenJob(t *testing.T, folder string) *batch.Job {
	t.Helper()
	return get[*batch.Job](t, build(t, folder), "Job/kafkalab/loadgen-copies")
}

func TestCopiesAreSaidOnce(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(jobFolder, "job.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	kustomization, err := os.ReadFile(filepath.Join(jobFolder, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, copies := range []int32{1, 4, 23} {
		dir := t.TempDir()
		changed := regexp.MustCompile(`completions: \d+`).ReplaceAllString(string(text), "completions: "+strconv.Itoa(int(copies)))
		for name, text := range map[string]string{"job.yaml": changed, "kustomization.yaml": string(kustomization)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		job := loadgenJob(t, dir)
		told := env(t, job.Spec.Template.Spec.Containers[0], "COPIES")
		if *job.Spec.Completions != copies || *job.Spec.Parallelism != copies || told != strconv.Itoa(int(copies)) {
			t.Errorf("want %d copies, all at once, that know how many they are (got %d, %d at once, told %q)", copies, *job.Spec.Completions, *job.Spec.Parallelism, told)
		}
	}
	if job := loadgenJob(t, jobFolder); *job.Spec.Completions < 2 || strings.Count(string(text), strconv.Itoa(int(*job.Spec.Completions))+" #") != 2 {
		t.Errorf("job.yaml: want the three places to agree as written too (got %d copies)", *job.Spec.Completions)
	}
}

func TestEachCopySendsItsShareAndIsNeverReplaced(t *testing.T) {
	job := loadgenJob(t, jobFolder)
	container := job.Spec.Template.Spec.Containers[0]
	if mode := job.Spec.CompletionMode; mode == nil || *mode != batch.IndexedCompletion {
		t.Errorf("want the Job indexed, or no copy knows which it is (got %v)", mode)
	}
	if want := "--share=$(JOB_COMPLETION_INDEX)/$(COPIES)"; !slices.Contains(container.Args, want) {
		t.Errorf("want the argument %s (got %q)", want, container.Args)
	}
	if job.Spec.BackoffLimit == nil || *job.Spec.BackoffLimit != 0 || job.Spec.BackoffLimitPerIndex != nil {
		t.Errorf("want no pod made anew for one that failed (got a limit of %v, %v by index)", job.Spec.BackoffLimit, job.Spec.BackoffLimitPerIndex)
	}
	if p := job.Spec.PodReplacementPolicy; p == nil || *p != batch.Failed {
		t.Errorf("want no pod made beside one that is still ending (got %v)", p)
	}
	if got := job.Spec.Template.Spec.RestartPolicy; got != core.RestartPolicyNever {
		t.Errorf("want no container restarted (got %s)", got)
	}
}

func TestArgumentsOfCopiesAreKnown(t *testing.T) {
	source, err := os.ReadFile("../../loadgen/main.go")
	if err != nil {
		t.Fatal(err)
	}
	container := loadgenJob(t, jobFolder).Spec.Template.Spec.Containers[0]
	if container.Args[0] != "run" {
		t.Errorf("want the command run, which alone has shares (got %s)", container.Args[0])
	}
	for _, arg := range container.Args[1:] {
		flag, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !strings.Contains(string(source), `Flag("`+flag+`"`) {
			t.Errorf("%s: want a flag of loadgen", arg)
		}
		for _, m := range regexp.MustCompile(`\$\((\w+)\)`).FindAllStringSubmatch(value, -1) {
			if m[1] != "JOB_COMPLETION_INDEX" { // which Kubernetes sets
				env(t, container, m[1])
			}
		}
	}
}

func TestCopiesRunAsTheDeploymentDoes(t *testing.T) {
	job := loadgenJob(t, jobFolder).Spec.Template
	deployment := get[*apps.Deployment](t, build(t, overlay("existing")), "Deployment/kafkalab/loadgen").Spec.Template
	a, b := job.Spec.Containers[0], deployment.Spec.Containers[0]
	for what, pair := range map[string][2]any{
		"image":                {a.Image, b.Image},
		"image pull policy":    {a.ImagePullPolicy, b.ImagePullPolicy},
		"command":              {a.Command, b.Command},
		"ports":                {a.Ports, b.Ports},
		"resources":            {a.Resources, b.Resources},
		"readiness":            {a.ReadinessProbe, b.ReadinessProbe},
		"liveness":             {a.LivenessProbe, b.LivenessProbe},
		"container's security": {a.SecurityContext, b.SecurityContext},
		"pod's security":       {job.Spec.SecurityContext, deployment.Spec.SecurityContext},
		"service links":        {job.Spec.EnableServiceLinks, deployment.Spec.EnableServiceLinks},
		"token":                {job.Spec.AutomountServiceAccountToken, deployment.Spec.AutomountServiceAccountToken},
		"grace":                {job.Spec.TerminationGracePeriodSeconds, deployment.Spec.TerminationGracePeriodSeconds},
		"memory of the heap":   {env(t, a, "GOMEMLIMIT"), env(t, b, "GOMEMLIMIT")},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: want it as in the Deployment, %+v (got %+v)", what, pair[1], pair[0])
		}
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}
	if r := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &job.ObjectMeta, &job.Spec)); !r.Allowed {
		t.Error(r.ForbiddenDetail())
	}
}

func TestCopiesAreFoundByPrometheusAndByNothingElse(t *testing.T) {
	job := loadgenJob(t, jobFolder).Spec.Template
	if !slices.ContainsFunc(job.Spec.Containers[0].Ports, func(p core.ContainerPort) bool { return p.Name == "metrics" }) {
		t.Error("want a port named metrics, which Prometheus looks for (got none)")
	}
	for key, object := range build(t, overlay("local")) {
		var selector map[string]string
		switch o := object.(type) {
		case *core.Service:
			selector = o.Spec.Selector
		case *apps.Deployment:
			selector = o.Spec.Selector.MatchLabels
		case *apps.StatefulSet:
			selector = o.Spec.Selector.MatchLabels
		default:
			continue
		}
		if labels.SelectorFromSet(selector).Matches(labels.Set(job.Labels)) {
			t.Errorf("%s: want it not to take the copies for its own", key)
		}
	}
	for _, s := range job.Spec.TopologySpreadConstraints {
		if !labels.SelectorFromSet(s.LabelSelector.MatchLabels).Matches(labels.Set(job.Labels)) {
			t.Errorf("want the copies spread by their own labels (got %v)", s.LabelSelector.MatchLabels)
		}
	}
	if len(job.Spec.TopologySpreadConstraints) == 0 {
		t.Error("want the copies spread over machines")
	}
}
