package apply

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Explain says in words what a class of failure means, and what it says about the value that was tried.
func (c Class) Explain() string {
	switch c {
	case Image:
		return "the image cannot be had, so the broker was not even started; this says nothing about the value"
	case OutOfMemory:
		return "the broker needed more memory than its container may use: next to the heap the JVM needs room for threads, code and buffers"
	case CrashLoop:
		return "the broker ends soon after each start: it, its JVM or its machine does not take the value"
	case Unschedulable:
		return "no node has room for the pod; this says nothing about the value"
	case ContainerConfig:
		return "the kubelet cannot make the container as it is described; this says nothing about the value"
	case Probe:
		return "the broker runs and does not become ready: it starts too slowly, or does not answer, with this value"
	case Deadline:
		return "the new pods were not all there in time"
	case Replaced:
		return "somebody or something deleted the pod"
	case RestartLoop:
		return "the operator restarts the broker again and again and is never content: it cannot bring the value to the running broker"
	case API:
		return "the API server could not be asked, so nothing is known about the pods"
	}
	return ""
}

// exit says what an exit code of a broker's container means.
func exit(t *corev1.ContainerStateTerminated) string {
	said := fmt.Sprintf("exit code %d (%s)", t.ExitCode, t.Reason)
	switch {
	case t.Reason == outOfMemory:
		said += ", killed at its memory limit"
	case t.ExitCode == 1:
		said += ", it gave up by itself: a JVM does so for options that it cannot take, Kafka for settings"
	case t.ExitCode == 3:
		said += ", the JVM ran out of heap"
	case t.ExitCode == 134 || t.ExitCode == 139:
		said += ", the JVM itself crashed"
	case t.ExitCode == 137:
		said += ", killed from outside, at once"
	case t.ExitCode == 143:
		said += ", told to end from outside, as a kubelet does when a liveness or startup probe fails"
	}
	if t.Message != "" {
		said += ": " + t.Message
	}
	return said
}
