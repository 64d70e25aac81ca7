//go:build !linux

package drive

import "time"

func punctual(int) {}

func sleep(d time.Duration) { time.Sleep(d) }
