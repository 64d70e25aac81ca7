package main

import (
	"errors"
	"sync"
)

// readiness passes the question on to whoever can answer it, once there is somebody.
type readiness struct {
	mu  sync.Mutex
	ask func() error
}

func (r *readiness) set(ask func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ask = ask
}

func (r *readiness) check() error {
	r.mu.Lock()
	ask := r.ask
	r.mu.Unlock()
	if ask == nil {
		return errors.New("waiting for the cluster")
	}
	return ask()
}
