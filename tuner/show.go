package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/status"
)

func showStatus(ctx context.Context, out io.Writer, address string, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := api.Client{Address: address}.Get(ctx, "status")
	if err != nil {
		return err
	}
	if asJSON {
		_, err := out.Write(body)
		return err
	}
	var s status.Snapshot
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("read tuner's answer: %w", err)
	}
	return s.Print(out)
}
