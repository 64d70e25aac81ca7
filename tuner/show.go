package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/tuner/status"
)

func showStatus(ctx context.Context, out io.Writer, address string, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+"/api/v1/status", nil)
	if err != nil {
		return fmt.Errorf("ask tuner: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask tuner: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("ask tuner: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask tuner at %s: want status 200 (got %s)", address, resp.Status)
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
