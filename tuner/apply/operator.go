package apply

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// loops is how often one broker may be replaced while its resource is waited for. Once is a restart for the change, twice that of another change
// beside it; the operator's own retries look like a third.
const loops = 3

// births counts how often each broker was replaced.
type births struct {
	pod   map[string]types.UID
	count map[string]int
}

// see counts, and returns the broker that was replaced too often.
func (b *births) see(now Lives) string {
	if b.pod == nil {
		b.pod, b.count = map[string]types.UID{}, map[string]int{}
	}
	for name, life := range now {
		if before, known := b.pod[name]; known && before != life.Pod {
			b.count[name]++
		}
		if b.pod[name] = life.Pod; b.count[name] >= loops {
			return name
		}
	}
	return ""
}

// await waits for the operator and its brokers; and, when a variable is named, until extra is content, or somebody else has changed the variable.
func (s *Strimzi) await(ctx context.Context, variable, value string, extra func(context.Context) (bool, string, error)) error {
	var born births
	c := Config{Deadline: s.c.Deadline, Poll: s.c.Poll}
	var changed error
	err := c.await(ctx, func(ctx context.Context, waited time.Duration) progress {
		u, err := s.get(ctx)
		if err != nil {
			return progress{err: err}
		}
		if variable != "" {
			if now, _ := strimziValue(u, variable); now != value {
				v, _ := s.view(u) // the contest sees it
				changed = fmt.Errorf("set %s to %q: %s has made it %q meanwhile: %w", variable, value, v.Author(variable), now, ErrChanged)
				return progress{done: true}
			}
		}
		p := s.reconciled(ctx, u, &born, waited)
		if !p.done || extra == nil {
			return p
		}
		done, now, err := extra(ctx)
		return progress{done: done, now: now, err: err}
	})
	if changed != nil {
		return changed
	}
	return err
}

// reconciled is whether the operator is done with the resource as it is now.
func (s *Strimzi) reconciled(ctx context.Context, u *unstructured.Unstructured, born *births, waited time.Duration) progress {
	pods, err := s.pods(ctx)
	if err != nil {
		return progress{err: err}
	}
	lives := Lives{}
	for i := range pods {
		lives[pods[i].Name] = lifeOf(&pods[i], strimziContainer)
	}
	said := condition(u)
	if name := born.see(lives); name != "" {
		return progress{failed: &RolloutError{Class: RestartLoop, Detail: fmt.Sprintf("pod %s was replaced %d times in %s: %s", name, loops, waited.Round(time.Second), said)}}
	}
	observed, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	p := judgePods(pods, len(pods), len(pods), strimziContainer, waited)
	switch {
	case p.failed != nil:
		return p
	case len(pods) == 0:
		return progress{now: "it has no pods of brokers"}
	case observed < u.GetGeneration():
		return progress{now: "the operator has not come to the change"}
	case said != ready:
		return progress{now: said}
	}
	return p
}

const ready = "Ready"

// condition is Ready, or what the operator says instead.
func condition(u *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	said := "the operator says nothing of its being ready"
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		if m["status"] != "True" {
			continue
		}
		switch m["type"] {
		case "Ready":
			return ready
		case "NotReady", "ReconciliationPaused":
			said = fmt.Sprintf("the operator says %v: %v: %v", m["type"], m["reason"], m["message"])
		}
	}
	return said
}
