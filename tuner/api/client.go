package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/kafkalab/kafkalab/tuner/orders"
)

// Client asks a tuner, and gives it orders. It is safe for concurrent use.
type Client struct {
	Address   string // http://host:port
	TokenFile string // read at each order; empty: none is sent
}

// Check says what is wrong with the address.
func (c Client) Check() error {
	if u, err := url.Parse(c.Address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("want http://host:port or https://host:port (got %q)", c.Address)
	}
	return nil
}

// Refusal is a tuner's answer other than success.
type Refusal struct {
	Status int
	Text   string // what the tuner says against it
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%d %s: %s", r.Status, http.StatusText(r.Status), r.Text)
}

// Get is the answer to a question, as it was sent; path is what follows /api/v1/.
func (c Client) Get(ctx context.Context, path string) ([]byte, error) {
	return c.send(ctx, http.MethodGet, path, nil)
}

// Ask is Get for an answer that is JSON.
func (c Client) Ask(ctx context.Context, path string, into any) error {
	text, err := c.Get(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read tuner's answer: %w", err)
	}
	return nil
}

// Order gives an order. When it returns nil the order is in the ledger.
func (c Client) Order(ctx context.Context, command orders.Command, o Order) error {
	_, err := c.send(ctx, http.MethodPost, string(command), &o)
	return err
}

func (c Client) send(ctx context.Context, method, path string, order *Order) ([]byte, error) {
	var body bytes.Buffer
	if order != nil {
		if err := json.NewEncoder(&body).Encode(order); err != nil {
			return nil, fmt.Errorf("ask tuner: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Address, "/")+"/api/v1/"+path, &body)
	if err != nil {
		return nil, fmt.Errorf("ask tuner: %w", err)
	}
	if order != nil {
		req.Header.Set("Content-Type", "application/json")
		if c.TokenFile != "" {
			token, err := Token(c.TokenFile)
			if err != nil {
				return nil, err
			}
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask tuner: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask tuner: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return text, nil
	}
	var f Failure
	if json.Unmarshal(text, &f) != nil || f.Error == "" {
		return nil, fmt.Errorf("ask tuner at %s: want status 200 (got %s)", c.Address, resp.Status)
	}
	return nil, &Refusal{Status: resp.StatusCode, Text: f.Error}
}
