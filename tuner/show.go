package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/status"
)

func showStatus(ctx context.Context, out io.Writer, how settings) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := api.Client{Address: how.address}.Get(ctx, "status")
	if err != nil {
		return err
	}
	if how.jsonOut && !how.fresh {
		_, err := out.Write(body)
		return err
	}
	var s status.Snapshot
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("read tuner's answer: %w", err)
	}
	if how.fresh {
		if s.Live.P99 == nil {
			return fmt.Errorf("no P99: %s", cmp.Or(s.Live.Missing["p99"], "not measured yet"))
		}
		return nil
	}
	return s.Print(out)
}
