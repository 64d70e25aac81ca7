package lead_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kafkalab/kafkalab/internal/kubetest"
	"github.com/kafkalab/kafkalab/tuner/lead"
)

func TestWhatIsRequired(t *testing.T) {
	if _, err := lead.New(lead.Config{}); err == nil || !strings.Contains(err.Error(), "client, namespace, name and identity are required") {
		t.Errorf("want it said (got %v)", err)
	}
}

// TestTermsRise on a real API server: each term has a higher number than the one before, also when the lease was deleted in between; work ends before
// the next one begins; and an error of the work is the election's.
func TestTermsRise(t *testing.T) {
	s := kubetest.Start(t)
	client := s.Client(t)
	var mu sync.Mutex
	highest, working := int64(0), 0
	failure := errors.New("disk full")
	candidate := func(name string) *lead.Election {
		e, err := lead.New(lead.Config{
			Client: client, Namespace: "default", Name: "tuner", Identity: name, Lease: 2 * time.Second,
			Highest: func(context.Context) (int64, error) { mu.Lock(); defer mu.Unlock(); return highest, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	work := func(name string) func(context.Context, int64) error {
		return func(ctx context.Context, term int64) error {
			mu.Lock()
			if term <= highest {
				t.Errorf("%s has term %d after term %d", name, term, highest)
			}
			highest = term
			if working++; working != 1 {
				t.Errorf("%d work at once", working)
			}
			mu.Unlock()
			defer func() { mu.Lock(); working--; mu.Unlock() }()
			if term == 3 {
				if err := client.CoordinationV1().Leases("default").Delete(ctx, "tuner", metav1.DeleteOptions{}); err != nil {
					t.Error(err)
				}
				return nil
			}
			if term >= 6 {
				return failure
			}
			return nil
		}
	}
	ends := make(chan error, 2)
	for _, name := range []string{"a", "b"} {
		e := candidate(name)
		go func() { ends <- e.Run(t.Context(), work(name)) }()
	}
	for range 2 {
		select {
		case err := <-ends:
			if !errors.Is(err, failure) {
				t.Errorf("want the work's error (got %v)", err)
			}
		case <-time.After(2 * time.Minute):
			t.Fatal("no sixth term came")
		}
	}
}
