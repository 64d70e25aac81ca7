package main

import (
	"context"
	"log/slog"

	"github.com/kafkalab/kafkalab/tuner/apply"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/trial"
)

// target is a way to the values: apply has three.
type target interface {
	trial.Cluster
	trial.Herald
	Claim(ctx context.Context) error
	Highest(ctx context.Context) (int64, error)
}

// reach chooses the way: to a resource of Strimzi's, or to a workload; there, knobs that the file calls dynamic are changed at the running brokers. It
// does not connect.
func reach(clients apply.Clients, file config.File, brokers apply.Brokers, log *slog.Logger) (func(term int64) (target, error), error) {
	t := file.Target
	var variables, dynamic []string
	settings := map[string]string{}
	for _, k := range file.Space() {
		variables = append(variables, k.Env)
		if name, broker := k.Source.BrokerSetting(); broker && k.IsDynamic() {
			dynamic, settings[k.Env] = append(dynamic, k.Env), name
		}
	}
	if t.Kind == config.Strimzi {
		s, err := apply.NewStrimzi(apply.StrimziConfig{
			Client: clients.Kube, Resources: clients.Resources, Namespace: t.Namespace, Name: t.Name, Variables: variables, Dynamic: dynamic,
			Brokers: brokers, Deadline: file.Windows.Rollout, Logger: log,
		})
		if err != nil {
			return nil, err
		}
		return func(term int64) (target, error) { return s.Under(term), nil }, nil
	}
	w, err := apply.New(apply.Config{
		Client: clients.Kube, Target: apply.Target{Kind: t.Kind, Namespace: t.Namespace, Name: t.Name, Container: t.Container}, Variables: variables,
		Deadline: file.Windows.Rollout, Logger: log,
	})
	if err != nil || len(settings) == 0 {
		return func(term int64) (target, error) { return w.Under(term), nil }, err
	}
	d, err := apply.NewDynamic(apply.DynamicConfig{Brokers: brokers, Logger: log})
	if err != nil {
		return nil, err
	}
	return func(term int64) (target, error) {
		return apply.NewMixed(apply.MixedConfig{Workload: w.Under(term), Dynamic: d, Settings: settings, Logger: log})
	}, nil
}
