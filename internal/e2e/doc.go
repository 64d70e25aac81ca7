// Package e2e tests the lab as a user has it: make's own programs on this machine, the real Kubernetes, Kafka and Prometheus.
//
// The tests are behind the build tag e2e, because they need root and several minutes; the one of three brokers, which CI leaves out for its length, is
// behind the tag brokers besides. They begin and end with an empty machine. They leave out what a unit test can show.
package e2e
