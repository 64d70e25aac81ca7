package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

// DynamicConfig of a Dynamic. Brokers is required.
type DynamicConfig struct {
	Brokers  Brokers
	Deadline time.Duration // for every broker to take one hop
	Poll     time.Duration
	Logger   *slog.Logger
}

// Dynamic changes settings of running brokers. No pod restarts.
//
// A value is set for the whole cluster, so that a broker which joins later has it too. The cluster keeps it in its metadata, on its disks: it is
// there after a restart, and hides what the broker's file says. So what is left at the end is as little as possible: values of single brokers
// are removed, and the cluster's too when the files say the same.
type Dynamic struct {
	c     DynamicConfig
	fence func(context.Context) error // says before each request whether it may still be sent; nil: it may
}

// NewDynamic checks its configuration; it does not connect.
func NewDynamic(c DynamicConfig) (*Dynamic, error) {
	if len(c.Brokers.Bootstrap) == 0 {
		return nil, errors.New("apply: the brokers' addresses are required")
	}
	if c.Deadline <= 0 {
		c.Deadline = 30 * time.Second
	}
	if c.Poll <= 0 {
		c.Poll = 100 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Dynamic{c: c}, nil
}

// pools are the settings that a broker refuses to change to less than half or more than double: sizes of pools of threads.
var pools = []string{
	"background.threads", "log.cleaner.threads", "num.io.threads", "num.network.threads", "num.recovery.threads.per.data.dir", "num.replica.fetchers",
}

// Hops are the values on the way to the last one, each within half and double of the one before. A broker halves in whole numbers: from 3 it
// goes down to 1.
func Hops(from, to int64) []int64 {
	var way []int64
	for at := max(from, 1); at != to; {
		next := min(max(to, at/2, 1), 2*at)
		if next == at {
			next = to // below one, or too large a number: the broker says what it thinks of it
		}
		way = append(way, next)
		at = next
	}
	return way
}

// path is Hops for a setting's texts: straight to the new value when it is no pool's size.
func path(name, from, to string) []string {
	a, errA := strconv.ParseInt(from, 10, 64)
	b, errB := strconv.ParseInt(to, 10, 64)
	if errA != nil || errB != nil || !slices.Contains(pools, name) {
		if from == to {
			return nil
		}
		return []string{to}
	}
	var way []string
	for _, hop := range Hops(a, b) {
		way = append(way, strconv.FormatInt(hop, 10))
	}
	return way
}

// Set brings the setting from old to new on every broker, in hops, and leaves no value behind that hides a later one in a file. What a killed
// tuner left half-way is gone on with. A broker that has any other value was changed by somebody else: ErrChanged. When a broker does not take a
// hop, the way is gone back as far as possible, and the error is ErrRefused.
func (d *Dynamic) Set(ctx context.Context, name, old, new string) error {
	now, err := d.look(ctx, name)
	if err != nil {
		return err
	}
	ours := append(path(name, old, new), path(name, new, old)...)
	ours = append(ours, old, new)
	for _, id := range now.Brokers() {
		s, has := now[id][name]
		switch {
		case !has:
			return fmt.Errorf("set %s: broker %d knows no such setting: %w", name, id, ErrRefused)
		case s.ReadOnly:
			return fmt.Errorf("set %s: broker %d changes it only by a restart: %w", name, id, ErrRefused)
		case !slices.Contains(ours, s.Value):
			return fmt.Errorf("set %s to %s: want %s there (got %s on broker %d): %w", name, new, old, s, id, ErrChanged)
		}
	}
	err = d.walk(ctx, name, new)
	if errors.Is(err, ErrRefused) {
		if back := d.walk(ctx, name, old); back != nil {
			return errors.Join(err, fmt.Errorf("and going back failed: %w", back))
		}
	}
	return err
}

// walk takes hop after hop until every broker has the value from the right place.
func (d *Dynamic) walk(ctx context.Context, name, to string) error {
	for range rounds {
		now, err := d.look(ctx, name)
		if err != nil {
			return err
		}
		steps := next(now, name, to)
		if len(steps) == 0 {
			return nil
		}
		for _, s := range steps {
			if err := d.step(ctx, name, s); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("set %s to %s: not there after %d requests: %w", name, to, rounds, ErrChanged)
}

// look reads the setting: again where that fails, since a broker that gives up network threads closes their connections after it has told its new value.
func (d *Dynamic) look(ctx context.Context, name string) (now Settings, err error) {
	for range attempts {
		if now, err = d.c.Brokers.Settings(ctx, name); err == nil {
			return now, nil
		}
		if err := pause(ctx, d.c.Poll); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("set %s: %w", name, err)
}

// rounds are more than any way needs; somebody who changes the value again and again must not make it endless.
const rounds = 100

// act is one request and what has to be seen after it.
type act struct {
	broker string // its id; empty: the whole cluster
	value  string // empty: the value there is removed
	want   map[int32]string
}

// next says what to ask for now, or nothing when all is as it should be. Brokers with values of their own, or with different ones, are brought to
// the goal one by one; the cluster's value follows them, and only then do theirs go: no broker ever sees another value than the hop it takes.
func next(now Settings, name, to string) []act {
	same, err := now.Common(name)
	ids := now.Brokers()
	own := slices.ContainsFunc(ids, func(id int32) bool { _, has := now[id][name].Values[DynamicBroker]; return has })
	if err == nil && !own && same != to {
		return []act{{value: path(name, same, to)[0], want: all(ids, path(name, same, to)[0])}}
	}
	var acts []act
	for _, id := range ids {
		if v := now[id][name].Value; v != to {
			hop := path(name, v, to)[0]
			acts = append(acts, act{broker: strconv.Itoa(int(id)), value: hop, want: map[int32]string{id: hop}})
		}
	}
	if len(acts) > 0 {
		return acts
	}
	return tidy(now, name, to)
}

// tidy is for brokers that all have the value already. It is set for the cluster unless every broker's file says the same.
func tidy(now Settings, name, to string) []act {
	ids := now.Brokers()
	everywhere := all(ids, to)
	static := !slices.ContainsFunc(ids, func(id int32) bool { v, has := now[id][name].rest(); return !has || v != to })
	set, has := now[ids[0]][name].Values[DynamicDefault]
	switch {
	case !static && (!has || set != to):
		return []act{{value: to, want: everywhere}}
	case static && has && set != to: // hidden by the brokers' own values; it must not come out when those go
		return []act{{value: to, want: everywhere}}
	}
	var acts []act
	for _, id := range ids {
		if _, own := now[id][name].Values[DynamicBroker]; own {
			acts = append(acts, act{broker: strconv.Itoa(int(id)), want: map[int32]string{id: to}})
		}
	}
	if len(acts) == 0 && static && has {
		acts = append(acts, act{want: everywhere})
	}
	return acts
}

func all(ids []int32, value string) map[int32]string {
	want := map[int32]string{}
	for _, id := range ids {
		want[id] = value
	}
	return want
}

// step asks, and waits until the brokers concerned have it: a broker takes a value some time after the answer, and one that cannot take it says so
// only in its log.
func (d *Dynamic) step(ctx context.Context, name string, a act) error {
	entry := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationDelete}
	what := "remove " + name
	if a.value != "" {
		entry = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &a.value}
		what = fmt.Sprintf("set %s to %s", name, a.value)
	}
	if a.broker != "" {
		what += " on broker " + a.broker
	}
	d.c.Logger.Info("change a running broker", "what", what)
	var err error
	for try := 1; try <= attempts; try++ { // a broker that gives up network threads closes their connections, this one among them
		if d.fence != nil {
			if err := d.fence(ctx); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		err = d.c.Brokers.with(ctx, func(admin sarama.ClusterAdmin) error {
			return admin.IncrementalAlterConfig(sarama.BrokerResource, a.broker, map[string]sarama.IncrementalAlterConfigsEntry{name: entry}, false)
		})
		switch {
		case err == nil:
			return d.taken(ctx, name, what, a)
		case refusal(err):
			return fmt.Errorf("%s: %w: %w", what, ErrRefused, err)
		}
		if err := pause(ctx, d.c.Poll); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

const attempts = 3

func (d *Dynamic) taken(ctx context.Context, name, what string, a act) error {
	from := DynamicDefault
	if a.broker != "" {
		from = DynamicBroker
	}
	start := time.Now()
	for {
		now, err := d.c.Brokers.Settings(ctx, name)
		if err == nil {
			err = missing(now, name, from, a)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			return nil
		case time.Since(start) > d.c.Deadline:
			return fmt.Errorf("%s: not seen within %s: %w: %w", what, d.c.Deadline, ErrRefused, err)
		}
		if err := pause(ctx, d.c.Poll); err != nil {
			return err
		}
	}
}

// missing says which broker is not as it should be after the act.
func missing(now Settings, name string, from Source, a act) error {
	for id, want := range a.want {
		got, there := now[id][name]
		if !there {
			return fmt.Errorf("broker %d is away", id)
		}
		kept, has := got.Values[from]
		if got.Value != want || has != (a.value != "") || has && kept != a.value {
			return fmt.Errorf("broker %d still has %s", id, got)
		}
	}
	return nil
}

// refusal tells an answer that will not change from one that may.
func refusal(err error) bool {
	for _, code := range []sarama.KError{
		sarama.ErrInvalidConfig, sarama.ErrInvalidRequest, sarama.ErrPolicyViolation, sarama.ErrClusterAuthorizationFailed, sarama.ErrUnsupportedVersion,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}
