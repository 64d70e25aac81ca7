package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Lives says, by pod, which run of each broker it is. A broker that died and is ready again looks like one that never died; only this tells them
// apart.
type Lives map[string]Life

// Life is one run: a pod, and how often its container was started anew.
type Life struct {
	Pod         types.UID
	Restarts    int32
	OutOfMemory bool   // the run before this one was killed at the memory limit
	Detail      string // how the run before this one ended
}

// Lives looks at the target's pods.
func (w *Workload) Lives(ctx context.Context) (Lives, error) {
	o, _, err := w.get(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := w.pods(ctx, o)
	if err != nil {
		return nil, err
	}
	lives := Lives{}
	for i := range pods {
		lives[pods[i].Name] = lifeOf(&pods[i].Pod, w.c.Target.Container)
	}
	return lives, nil
}

func lifeOf(p *corev1.Pod, container string) Life {
	life := Life{Pod: p.UID}
	for _, s := range p.Status.ContainerStatuses {
		if s.Name != container {
			continue
		}
		ended := lastEnd(s)
		life.Restarts, life.OutOfMemory, life.Detail = s.RestartCount, ended != nil && ended.Reason == outOfMemory, crashDetail(p, s)
	}
	return life
}

// Since is nil when the same brokers have lived on, and otherwise says what became of one of them. A pod that was replaced was deleted by
// somebody or something else: that a broker crashes replaces its container only.
func (l Lives) Since(before Lives) *RolloutError {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		was := before[name]
		now, there := l[name]
		switch {
		case !there || now.Pod != was.Pod:
			return &RolloutError{Class: Replaced, Detail: fmt.Sprintf("after it was complete: pod %s: was deleted or replaced", name)}
		case now.Restarts == was.Restarts:
			continue
		case now.OutOfMemory:
			return &RolloutError{Class: OutOfMemory, Detail: "after it was complete: " + now.Detail}
		default:
			return &RolloutError{Class: CrashLoop, Detail: "after it was complete: " + now.Detail}
		}
	}
	return nil
}
