package kubetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Behaviour is what becomes of a pod: the status that a kubelet would report now. It is asked again and again while the pod is there.
type Behaviour func(pod corev1.Pod) corev1.PodStatus

// Node starts the real controllers of StatefulSets, Deployments and ReplicaSets, and plays the rest of a cluster: every pod that they make is
// bound to one node, unless its status says that it cannot be, and behaves as told; one that is deleted is gone soon after. It ends with the
// test.
func (s *Server) Node(t testing.TB, behave Behaviour) {
	t.Helper()
	conf := s.Kubeconfig(t)
	manager, err := s.run("kube-controller-manager", "--kubeconfig="+conf, "--authentication-kubeconfig="+conf, "--authorization-kubeconfig="+conf,
		"--secure-port=0", "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000", // they serve many tests at once
		"--concurrent-statefulset-syncs=20", "--controllers=statefulset-controller,deployment-controller,replicaset-controller", "--profiling=false")
	if err != nil {
		t.Fatalf("start kube-controller-manager: %v", err)
	}
	t.Cleanup(manager.Kill)
	ctx, cancel := context.WithCancel(context.Background()) // the test's own context ends before its cleanups
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	client := s.Client(t)
	go func() {
		defer close(done)
		n := node{client: client, behave: behave}
		for ctx.Err() == nil {
			n.look(ctx) // what fails is tried again: the test may have killed the server
			select {
			case <-ctx.Done():
			case <-time.After(poll):
			}
		}
	}()
}

const nodeName = "node"

type node struct {
	client kubernetes.Interface
	behave Behaviour
}

func (n node) look(ctx context.Context) {
	pods, err := n.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, p := range pods.Items {
		_ = n.attend(ctx, p)
	}
}

func (n node) attend(ctx context.Context, p corev1.Pod) error {
	pods := n.client.CoreV1().Pods(p.Namespace)
	if p.DeletionTimestamp != nil {
		now := int64(0)
		err := pods.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.UID}})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	status := n.behave(*p.DeepCopy())
	if p.Spec.NodeName == "" && !homeless(status) {
		binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: p.Name, UID: p.UID}, Target: corev1.ObjectReference{Kind: "Node", Name: nodeName}}
		if err := pods.Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("bind pod: %w", err)
		}
		return nil // its status is written at the next look, on what the binding has made of it
	}
	status.QOSClass = p.Status.QOSClass // never changes
	status.StartTime = p.Status.StartTime
	if equality.Semantic.DeepEqual(status, p.Status) {
		return nil
	}
	p.Status = status
	_, err := pods.UpdateStatus(ctx, &p, metav1.UpdateOptions{FieldManager: "kubelet"})
	return err
}

func homeless(s corev1.PodStatus) bool {
	for _, c := range s.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return true
		}
	}
	return false
}

// Ready is a pod whose containers run and are ready.
func Ready(p corev1.Pod) corev1.PodStatus {
	s := status(p, corev1.PodRunning, true)
	for i := range s.ContainerStatuses {
		s.ContainerStatuses[i].Ready = true
		s.ContainerStatuses[i].State.Running = &corev1.ContainerStateRunning{}
	}
	return s
}

// Starting is a pod whose containers run and are not ready.
func Starting(p corev1.Pod) corev1.PodStatus {
	s := status(p, corev1.PodRunning, false)
	for i := range s.ContainerStatuses {
		s.ContainerStatuses[i].State.Running = &corev1.ContainerStateRunning{}
	}
	return s
}

// Waiting is a pod whose containers are not started, for the reason.
func Waiting(p corev1.Pod, reason, message string) corev1.PodStatus {
	s := status(p, corev1.PodPending, false)
	for i := range s.ContainerStatuses {
		s.ContainerStatuses[i].State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: message}
	}
	return s
}

// Crashing is a pod whose containers have ended so many times and wait before they are started again.
func Crashing(p corev1.Pod, reason string, code, restarts int32) corev1.PodStatus {
	s := status(p, corev1.PodRunning, false)
	for i := range s.ContainerStatuses {
		c := &s.ContainerStatuses[i]
		c.RestartCount = restarts
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off restarting failed container"}
		c.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: reason, ExitCode: code}
	}
	return s
}

// Unschedulable is a pod that no node has room for.
func Unschedulable(_ corev1.Pod, message string) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message},
	}}
}

func status(p corev1.Pod, phase corev1.PodPhase, ready bool) corev1.PodStatus {
	is := corev1.ConditionFalse
	if ready {
		is = corev1.ConditionTrue
	}
	s := corev1.PodStatus{Phase: phase, Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
		{Type: corev1.PodReady, Status: is}, {Type: corev1.ContainersReady, Status: is},
	}}
	for _, c := range p.Spec.Containers {
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, Started: &ready})
	}
	return s
}
