// Package lead sees to it that of several tuners of one target only one acts: the one that holds the target's Lease.
//
// It promises that work runs only while the lease is held, that its context ends when the lease is lost, that a lease is let go only after the work
// has ended, and that each term has a higher number than every one before it, so that what an earlier holder still sends can be told from what the
// present one does (tuner/apply refuses the former). It leaves out what the work is.
//
// Rights it needs in the target's namespace: create on leases; get and update on the one of its name.
package lead

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// The times of an election: a holder that cannot renew its lease for Renew stops, and after Lease another one may take it.
const (
	Lease = 15 * time.Second
	Renew = 10 * time.Second
	Retry = 2 * time.Second
)

// Config of an Election. Client, Namespace, Name and Identity are required.
type Config struct {
	Client          kubernetes.Interface
	Namespace, Name string // of the lease
	Identity        string // for people: whose process this is
	Logger          *slog.Logger
	Lease           time.Duration // default Lease; Renew and Retry follow in the same proportion
	// Seen is told who holds the lease, when that is another one.
	Seen func(holder string)
	// Trouble is told why the lease cannot be asked for or renewed.
	Trouble func(err error)
	// Highest is the highest term that the target knows. It counts when the lease was deleted, and with it the count of terms.
	Highest func(ctx context.Context) (int64, error)
}

// Election is one process's part in it.
type Election struct {
	c            Config
	renew, retry time.Duration
}

// New checks the configuration; it does not connect.
func New(c Config) (*Election, error) {
	if c.Client == nil || c.Namespace == "" || c.Name == "" || c.Identity == "" {
		return nil, errors.New("lead: client, namespace, name and identity are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Lease <= 0 {
		c.Lease = Lease
	}
	if c.Seen == nil {
		c.Seen = func(string) {}
	}
	if c.Trouble == nil {
		c.Trouble = func(error) {}
	}
	if c.Highest == nil {
		c.Highest = func(context.Context) (int64, error) { return 0, nil }
	}
	part := func(of time.Duration) time.Duration {
		return time.Duration(float64(c.Lease) * float64(of) / float64(Lease))
	}
	return &Election{c: c, renew: part(Renew), retry: part(Retry)}, nil
}

// Run calls work each time that this process gets the lease. It returns when ctx has ended, or when work returned an error while the lease was held.
func (e *Election) Run(ctx context.Context, work func(ctx context.Context, term int64) error) error {
	for ctx.Err() == nil {
		if err := e.round(ctx, work); err != nil {
			return err
		}
	}
	return nil
}

// round waits for the lease once and works until it is lost. Each round has an identity of its own, so that each gets a term of its own: who held the
// lease before, and may have been away for long, is not taken for who holds it now.
func (e *Election) round(ctx context.Context, work func(ctx context.Context, term int64) error) error {
	held, letGo := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), logr.FromSlogHandler(e.c.Logger.Handler())))
	defer letGo()
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: e.c.Namespace, Name: e.c.Name},
		Client:     e.c.Client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: e.c.Identity + "_" + uuid.NewString()},
	}
	began, ended := make(chan struct{}), make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: watched{lock, e.c.Trouble}, LeaseDuration: e.c.Lease, RenewDeadline: e.renew, RetryPeriod: e.retry, ReleaseOnCancel: true, Name: e.c.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				close(began)
				ended <- e.lead(ctx, leading, lock, work)
				letGo()
			},
			OnStoppedLeading: func() {},
			OnNewLeader: func(holder string) {
				if holder != lock.Identity() {
					e.c.Seen(holder)
				}
			},
		},
	})
	if err != nil {
		return fmt.Errorf("set up election: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-began: // the work sees the end itself, and the lease is let go after it
		default:
			letGo()
		}
	})
	defer stop()
	elector.Run(held)
	select {
	case <-began:
		return <-ended
	default:
		return nil
	}
}

// watched tells of the troubles that the elector only logs.
type watched struct {
	resourcelock.Interface
	trouble func(error)
}

func (w watched) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := w.Interface.Get(ctx)
	return record, raw, w.tell(err)
}

func (w watched) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return w.tell(w.Interface.Create(ctx, r))
}

func (w watched) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return w.tell(w.Interface.Update(ctx, r))
}

func (w watched) tell(err error) error {
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && !errors.Is(err, context.Canceled) {
		w.trouble(err)
	}
	return err
}

// lead works for one term. That the lease was lost is no error of the work's.
func (e *Election) lead(ctx, leading context.Context, lock resourcelock.Interface, work func(context.Context, int64) error) error {
	inner, stop := context.WithCancel(leading)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	term, err := e.term(inner, lock.Identity())
	switch {
	case inner.Err() != nil:
		return nil
	case err != nil:
		e.c.Logger.Warn("the lease is given back", "err", err)
		select {
		case <-inner.Done():
		case <-time.After(e.retry): // the next round tries again
		}
		return nil
	}
	e.c.Logger.Info("holds the lease", "lease", lock.Describe(), "term", term)
	err = work(inner, term)
	if leading.Err() != nil && ctx.Err() == nil {
		e.c.Logger.Warn("lost the lease", "lease", lock.Describe(), "term", term, "err", err)
		return nil
	}
	return err
}

// term is the number of the term that has just begun. It is kept above what the target knows.
func (e *Election) term(ctx context.Context, identity string) (int64, error) {
	highest, err := e.c.Highest(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for the highest term: %w", err)
	}
	leases := e.c.Client.CoordinationV1().Leases(e.c.Namespace)
	for {
		lease, err := leases.Get(ctx, e.c.Name, metav1.GetOptions{})
		switch {
		case err != nil:
			return 0, fmt.Errorf("get lease: %w", err)
		case lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != identity:
			return 0, errors.New("another tuner has taken it already")
		}
		transitions := int64(0)
		if n := lease.Spec.LeaseTransitions; n != nil {
			transitions = int64(*n)
		}
		if transitions >= highest {
			return transitions + 1, nil
		}
		raised := int32(highest)
		lease.Spec.LeaseTransitions = &raised
		if _, err := leases.Update(ctx, lease, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) {
			return 0, fmt.Errorf("raise term: %w", err)
		}
	}
}
