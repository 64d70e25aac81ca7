package apply

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrContested says that another controller puts a value back whenever the tuner sets it. It is an ErrRefused: Set sends nothing any more.
var ErrContested = errors.New("put back by another controller")

// patience is how often a value of ours may be put back. Once may be a person, who is right; the second time it is a program, and so would be the
// third.
const patience = 2

// contest counts who put values of ours back. It is for the life of the process: whoever has ended the quarrel starts the tuner again.
type contest struct {
	mu      sync.Mutex
	set     map[string]move // what the tuner wrote last, while nobody has undone it
	putBack map[string]int
	by      map[string]Author // who did it last
}

type move struct{ old, new string }

// mine notes a value that the tuner has written.
func (c *contest) mine(variable, old, new string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set == nil {
		c.set, c.putBack, c.by = map[string]move{}, map[string]int{}, map[string]Author{}
	}
	c.set[variable] = move{old, new}
}

// look compares what is there with what the tuner wrote.
func (c *contest) look(v View) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for variable, m := range c.set {
		a := v.Authors[variable]
		if now, has := v.Env[variable]; has && m.old != m.new && now == m.old && a.Manager != "" && a.Manager != Manager {
			delete(c.set, variable)
			c.putBack[variable]++
			c.by[variable] = a
		}
	}
}

// rule says why a variable must not be set.
type rule func(variable string) error

// anyway is the rule for what must not stay as it is.
func anyway(string) error { return nil }

// check refuses a variable that was put back too often.
func (c *contest) check(variable string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.putBack[variable]; n >= patience {
		by := c.by[variable]
		return fmt.Errorf("%w: %w: %s has done so %d times, last at %s; let one of them own the field: take it out of what %s manages, or run the tuner in mode recommend",
			ErrRefused, ErrContested, by.Manager, n, by.Time.UTC().Format(time.RFC3339), by.Manager)
	}
	return nil
}
