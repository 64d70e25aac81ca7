package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// searching is a probe of which only the search for groups runs.
func searching(t *testing.T) *Probe {
	t.Helper()
	p, err := New(Config{Kafka: sarama.NewConfig(), Brokers: []string{"broker-1:9092"}, Topic: "t", Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	p.life = ended // so that no commit is made
	return p
}

func (p *Probe) named() []string {
	var out []string
	for _, g := range p.groups {
		out = append(out, fmt.Sprint(g.name, "@", g.coordinator))
	}
	return out
}

func TestEachBrokerIsFoundAGroupThatItCoordinates(t *testing.T) {
	p, s := searching(t), cluster("123", "1:1:1")
	at := map[string]int32{"t-0": 2, "t-1": 2, "t-2": 1, "t-3": 2, "t-4": 1, "t-5": 3}
	var asked []string
	ask := func(group string) (int32, error) {
		asked = append(asked, group)
		return at[group], nil
	}
	if err := p.seek(ask, s); err != nil {
		t.Fatal(err)
	}
	if want, got := []string{"t-0@2", "t-2@1", "t-5@3"}, p.named(); !slices.Equal(want, got) {
		t.Errorf("want the first that each broker coordinates, %v, got %v", want, got)
	}
	if len(asked) != 6 {
		t.Errorf("want six names asked for, got %v", asked)
	}

	asked = nil
	if err := p.seek(ask, s); err != nil || asked != nil {
		t.Errorf("want nothing asked while all is known, got %v, %v", asked, err)
	}

	// Broker 3 leaves, and 1 takes over its group: the group stays in use, and no further one is needed.
	at["t-5"] = 1
	if err := p.seek(ask, cluster("12", "1:1:1")); err != nil || !slices.Equal(asked, []string{"t-5"}) {
		t.Errorf("want the group asked for that lost its coordinator, got %v, %v", asked, err)
	}
	if want, got := []string{"t-0@2", "t-2@1", "t-5@1"}, p.named(); !slices.Equal(want, got) {
		t.Errorf("want %v, got %v", want, got)
	}
}

func TestTheSearchForGroupsIsBounded(t *testing.T) {
	p, s := searching(t), cluster("12345", "1:1:1")
	total := 0
	ask := func(string) (int32, error) {
		total++
		return 1, nil // the others coordinate nothing
	}
	for range 10 {
		before := total
		if err := p.seek(ask, s); err != nil {
			t.Fatal(err)
		}
		if total-before > lookupsAtOnce {
			t.Errorf("want at most %d questions in one look, got %d", lookupsAtOnce, total-before)
		}
	}
	if total != candidates(5) || len(p.groups) != 1 {
		t.Errorf("want %d names asked for, once each, and one group in use, got %d and %v", candidates(5), total, p.named())
	}
}

func TestAFailedQuestionEndsTheSearchUntilTheNextLook(t *testing.T) {
	p, s := searching(t), cluster("12", "1:1:1")
	broken, n := errors.New("broken"), 0
	err := p.seek(func(string) (int32, error) {
		if n++; n == 2 {
			return -1, broken
		}
		return 1, nil
	}, s)
	if !errors.Is(err, broken) || n != 2 || len(p.groups) != 1 {
		t.Errorf("want the search ended by the second question, got %v after %d and %v", err, n, p.named())
	}
}

// What was found out about a group while its broker was away is true no more when it is back.
func TestAGroupIsAskedAboutAgainBeforeItIsUsed(t *testing.T) {
	p := searching(t)
	at := map[string]int32{"t-0": 1, "t-1": 1, "t-2": 1, "t-3": 1, "t-4": 1}
	ask := func(group string) (int32, error) { return at[group], nil }
	if err := p.seek(ask, cluster("13", "1:1:1")); err != nil || !slices.Equal(p.named(), []string{"t-0@1"}) {
		t.Fatalf("want one group in use, got %v, %v", p.named(), err)
	}
	at["t-0"], at["t-1"], at["t-2"], at["t-3"] = 2, 2, 3, 2
	p.setCoordinator(p.groups[0], -1)
	if err := p.seek(ask, cluster("12", "1:1:1")); err != nil {
		t.Fatal(err)
	}
	if want, got := []string{"t-0@2", "t-4@1"}, p.named(); !slices.Equal(want, got) {
		t.Errorf("want no group used that broker 1 coordinates no more, %v, got %v", want, got)
	}
}
