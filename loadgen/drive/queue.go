package drive

import "sync"

// queue holds the records of one client that are not under way, oldest first, so that all of them take their turn however few are in use.
// One goroutine gets, any may put. What is put is taken over in one go, so that a record costs no lock of its own.
type queue struct {
	ready []*Record // of the getting goroutine
	next  int       // of ready
	size  int

	mu      sync.Mutex
	back    []*Record
	waiting bool
	wake    chan struct{}
}

func newQueue(records []*Record) *queue {
	return &queue{size: len(records), ready: make([]*Record, 0, len(records)), back: append(make([]*Record, 0, len(records)), records...), wake: make(chan struct{}, 1)}
}

// tryGet returns nil when every record is under way.
func (s *queue) tryGet() *Record {
	if s.next == len(s.ready) {
		s.mu.Lock()
		s.ready, s.back = s.back, s.ready[:0]
		s.waiting = len(s.ready) == 0
		s.mu.Unlock()
		s.next = 0
		if len(s.ready) == 0 {
			return nil
		}
	}
	r := s.ready[s.next]
	s.next++
	return r
}

// get waits for a record; nil means that stop came first.
func (s *queue) get(stop <-chan struct{}) *Record {
	for {
		if r := s.tryGet(); r != nil {
			return r
		}
		select {
		case <-s.wake:
		case <-stop:
			return nil
		}
	}
}

func (s *queue) put(records ...*Record) {
	s.mu.Lock()
	s.back = append(s.back, records...)
	waiting := s.waiting
	s.waiting = false
	s.mu.Unlock()
	if waiting {
		select {
		case s.wake <- struct{}{}:
		default: // it has been told already
		}
	}
}
