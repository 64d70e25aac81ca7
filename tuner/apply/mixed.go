package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// MixedConfig of a Mixed. All but Logger is required.
type MixedConfig struct {
	*Workload
	Dynamic  *Dynamic
	Settings map[string]string // variables that are also settings which a running broker changes, with the settings' names
	Logger   *slog.Logger
}

// Mixed is a workload some of whose variables are changed at the running brokers, without a restart.
//
// Such a value is kept by the cluster's own metadata from the moment it is set, and Rollout brings it back to a broker that was restarted and did not
// take it: one that starts does not go from its file's value to more than double. It is written into the variable too, but not at the price of a
// restart: a StatefulSet of RollingUpdate replaces its
// pods for any change of the template, and there is no way around that which is ours to take. A partition or OnDelete would hold the pods, but both
// belong to whoever wrote the workload; a GitOps controller puts them back, which then is the restart; and meanwhile nobody else's change would
// come through. So the variable follows in the same patch as the next change that restarts the brokers anyway; at once where the workload is
// already OnDelete, held by its partition, or paused. After that restart the file says what the metadata say, and the latter are removed: they
// would hide whatever is written into the variable later. Until then an annotation of the workload says what waits, to people, and to a tuner that
// starts while no broker can be asked.
type Mixed struct {
	MixedConfig
}

// DynamicAnnotation on the workload names the variables whose values the running brokers have by Kafka's dynamic configuration.
const DynamicAnnotation = "kafkalab.io/dynamic-settings"

// held is a variable whose value is in the brokers' metadata, which hide what the variable says.
type held struct {
	Value    string `json:"value"`
	Variable string `json:"variable"` // what the variable said when the value was set
}

// NewMixed checks its configuration.
func NewMixed(c MixedConfig) (*Mixed, error) {
	if c.Workload == nil || c.Dynamic == nil || len(c.Settings) == 0 {
		return nil, errors.New("apply: workload, dynamic and settings are required")
	}
	for variable := range c.Settings {
		if !slices.Contains(c.c.Variables, variable) {
			return nil, fmt.Errorf("apply: settings: want variables of the workload, which are %v (got %q)", c.c.Variables, variable)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	fenced := *c.Dynamic
	fenced.fence = c.Workload.fence
	c.Dynamic = &fenced
	return &Mixed{c}, nil
}

// Restarts says whether a change of the variable restarts the brokers.
func (m *Mixed) Restarts(variable string) bool {
	_, dynamic := m.Settings[variable]
	return !dynamic
}

// byKafka stands for an author where there is no record: Kafka keeps none of who changed a setting.
const byKafka = "unknown (by Kafka's dynamic configuration, which keeps no record of who)"

// Look is the workload's, with the values that the brokers' metadata put over it.
func (m *Mixed) Look(ctx context.Context) (View, error) {
	v, err := m.Workload.Look(ctx)
	if err != nil {
		return View{}, err
	}
	holds, err := m.holds(ctx, v)
	if err != nil {
		if len(v.notes) == 0 {
			m.Logger.Debug("the brokers cannot be asked; nothing is noted of dynamic settings", "err", err)
		}
		holds = v.notes
	}
	v.Pending = map[string]string{}
	for variable, h := range holds {
		if written(v, variable, h) {
			continue // the view shows what was written, with its author, and Rollout takes the metadata's value away
		}
		if h.Value != v.Env[variable] {
			v.Pending[variable] = h.Value
		}
		v.Env[variable] = h.Value
		v.Authors[variable] = Author{Manager: byKafka}
	}
	return v, nil
}

// written says whether somebody has written the variable while the metadata hide it. What people write there is what they want.
func written(v View, variable string, h held) bool {
	return h.Variable != v.Env[variable] && !v.ByUs(variable)
}

// holds asks the brokers which variables' values are in their metadata.
func (m *Mixed) holds(ctx context.Context, v View) (map[string]held, error) {
	now, err := m.settings(ctx)
	if err != nil {
		return nil, err
	}
	holds := map[string]held{}
	for variable, name := range m.Settings {
		for _, id := range now.Brokers() {
			// Brokers that disagree show the value of the first; read-back says more.
			s := now[id][name]
			value, has := s.Values[s.Source]
			if !has || !s.Source.Dynamic() {
				continue
			}
			holds[variable] = held{Value: value, Variable: v.Env[variable]}
			if note, noted := v.notes[variable]; noted {
				holds[variable] = held{Value: value, Variable: note.Variable}
			}
			break
		}
	}
	return holds, nil
}

func (m *Mixed) settings(ctx context.Context) (Settings, error) {
	return m.Dynamic.c.Brokers.Settings(ctx, slices.Collect(maps.Values(m.Settings))...)
}

// note writes the annotation when it says something else.
func (m *Mixed) note(ctx context.Context, variable string, h *held) error {
	for try := 1; ; try++ {
		o, _, err := m.get(ctx)
		if err != nil {
			return err
		}
		if err := m.fenced(o); err != nil {
			return err
		}
		before := notesOf(o)
		notes := map[string]held{}
		maps.Copy(notes, before)
		if delete(notes, variable); h != nil {
			notes[variable] = *h
		}
		if maps.Equal(notes, before) {
			return nil
		}
		text, err := json.Marshal(notes)
		if err != nil {
			return fmt.Errorf("encode annotation: %w", err)
		}
		value := any(string(text))
		if len(notes) == 0 {
			value = nil
		}
		err = m.write(ctx, types.MergePatchType, map[string]any{"metadata": map[string]any{
			"resourceVersion": o.ResourceVersion, "annotations": map[string]any{DynamicAnnotation: value},
		}})
		if err == nil {
			return nil
		}
		if err := again(ctx, err, try); err != nil {
			return fmt.Errorf("annotate %s: %w", m.c.Target, err)
		}
	}
}

// notesOf reads the annotation. What is no note of ours is none.
func notesOf(o *object) (notes map[string]held) {
	if json.Unmarshal([]byte(o.Annotations[DynamicAnnotation]), &notes) != nil {
		return nil
	}
	return notes
}

// Set changes one variable. One that running brokers take is changed there.
func (m *Mixed) Set(ctx context.Context, variable, old, new string) (View, error) {
	return m.set(ctx, variable, old, new, m.contest.check)
}

// Restore is Set for a value that must not stay.
func (m *Mixed) Restore(ctx context.Context, variable, old, new string) (View, error) {
	return m.set(ctx, variable, old, new, anyway)
}

func (m *Mixed) set(ctx context.Context, variable, old, new string, may rule) (View, error) {
	v, err := m.Look(ctx)
	if err != nil {
		return View{}, err
	}
	name, dynamic := m.Settings[variable]
	switch {
	case !dynamic:
		_, err = m.Workload.set(ctx, variable, old, new, v.Pending, may)
	default:
		err = m.setDynamic(ctx, v, variable, name, old, new, may)
	}
	if err != nil {
		return View{}, err
	}
	return m.Look(ctx)
}

func (m *Mixed) setDynamic(ctx context.Context, v View, variable, name, old, new string, may rule) error {
	o, container, err := m.get(ctx)
	if err != nil {
		return err
	}
	if err := m.fenced(o); err != nil {
		return err
	}
	plain, err := m.view(o, container)
	if err != nil {
		return err
	}
	if now := v.Env[variable]; now == plain.Env[variable] && !slices.Contains(path(name, old, new), now) && now != old && now != new {
		return fmt.Errorf("set %s to %q: want %q there (got %q): %w", variable, new, old, now, ErrChanged)
	}
	if err := may(variable); err != nil && v.Env[variable] != new {
		return fmt.Errorf("set %s to %q: %w", variable, new, err)
	}
	h := held{Value: new, Variable: plain.Env[variable]}
	if note, noted := v.notes[variable]; noted {
		h.Variable = note.Variable
	}
	if err := m.note(ctx, variable, &h); err != nil {
		return err
	}
	if err := m.Dynamic.Set(ctx, name, old, new); err != nil {
		return err
	}
	return m.persist(ctx, variable, new, may)
}

// persist writes the variable at once when that restarts nothing.
func (m *Mixed) persist(ctx context.Context, variable, value string, may rule) error {
	o, c, err := m.get(ctx)
	if err != nil {
		return err
	}
	now, plain := variableOf(c, variable)
	if !o.quiet || !plain || now == value {
		return nil
	}
	if _, err := m.Workload.set(ctx, variable, now, value, nil, may); err != nil {
		return fmt.Errorf("write %s for the next restart: %w", variable, err)
	}
	return nil
}

// Redeploy is the workload's. What the brokers' metadata hold is theirs again after the rollout.
func (m *Mixed) Redeploy(ctx context.Context, reason string) (View, error) {
	if _, err := m.Workload.Redeploy(ctx, reason); err != nil {
		return View{}, err
	}
	return m.Look(ctx)
}

// Rollout waits like the workload's and then tidies up: restarted brokers get again what the metadata hold for them; and a value of the metadata goes
// that hides the same one in the file, or one that somebody has written since.
func (m *Mixed) Rollout(ctx context.Context) error {
	if err := m.Workload.Rollout(ctx); err != nil {
		return err
	}
	m.tidy(ctx)
	return nil
}

// Rollback is the workload's, with the same end.
func (m *Mixed) Rollback(ctx context.Context) error {
	if err := m.Workload.Rollback(ctx); err != nil {
		return err
	}
	m.tidy(ctx)
	return nil
}

// tidy wants no value that was not set before; only a tuner that may act does it. A broker refuses everything while one of the values is too far from what it runs with, so what is
// refused is tried again after the others. What cannot be done now is done after the next rollout.
func (m *Mixed) tidy(ctx context.Context) {
	if m.c.Term == 0 {
		return
	}
	left := slices.Sorted(maps.Keys(m.Settings))
	for range m.Settings {
		var failed []string
		for _, variable := range left {
			if err := m.tidyOne(ctx, variable, m.Settings[variable]); err != nil && ctx.Err() == nil {
				m.Logger.Warn("a left-over dynamic setting was not removed", "setting", m.Settings[variable], "err", err)
				failed = append(failed, variable)
			}
		}
		left = failed
	}
}

func (m *Mixed) tidyOne(ctx context.Context, variable, name string) error {
	v, err := m.Workload.Look(ctx)
	if err != nil {
		return err
	}
	now, err := m.settings(ctx)
	if err != nil {
		return err
	}
	holds, err := m.holds(ctx, v)
	if err != nil {
		return err
	}
	h, has := holds[variable]
	if has {
		if in, err := now.Common(name); err == nil && in != h.Value {
			// A broker that has started does not go from its file's value to one that is more than double of it, as little as one that runs.
			if err := m.Dynamic.Set(ctx, name, in, h.Value); err != nil {
				return err
			}
		}
		wanted := v.Env[variable]
		if !written(v, variable, h) && h.Value != wanted || !everyFile(now, name, wanted) {
			return nil // it waits for the next restart
		}
		if err := m.Dynamic.Set(ctx, name, h.Value, wanted); err != nil {
			return err
		}
	}
	return m.note(ctx, variable, nil)
}

// everyFile says whether every broker would have the value without dynamic ones.
func everyFile(now Settings, name, value string) bool {
	return !slices.ContainsFunc(now.Brokers(), func(id int32) bool { v, has := now[id][name].rest(); return !has || v != value })
}
