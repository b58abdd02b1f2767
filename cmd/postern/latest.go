// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"sync"
)

// latest is a value that is replaced and read by whoever waits for a newer one.
type latest[T any] struct {
	mu      sync.Mutex
	value   T
	set     bool
	changed chan struct{}
}

func newLatest[T any]() *latest[T] { return &latest[T]{changed: make(chan struct{})} }

func (l *latest[T]) Set(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value, l.set = v, true
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *latest[T]) Get() (T, bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value, l.set, l.changed
}

// stream sends every newer value until that fails or ctx ends.
func (l *latest[T]) stream(ctx context.Context, send func(T) error) error {
	for {
		v, ok, changed := l.Get()
		if ok {
			if err := send(v); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
