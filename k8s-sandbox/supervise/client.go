package supervise

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Client speaks to a running supervisor.
type Client struct{ http *http.Client }

// Dial makes a client for a control socket. It connects on use.
func Dial(socket string) *Client {
	return &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

// Status asks for every component's.
func (c *Client) Status(ctx context.Context) ([]Status, error) {
	body, err := c.do(ctx, http.MethodGet, "/status")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var all []Status
	if err := json.NewDecoder(body).Decode(&all); err != nil {
		return nil, fmt.Errorf("read supervisor's status: %w", err)
	}
	return all, nil
}

// Stop returns once every component has been stopped.
func (c *Client) Stop(ctx context.Context) error {
	body, err := c.do(ctx, http.MethodPost, "/stop")
	if err != nil {
		return err
	}
	return body.Close()
}

func (c *Client) do(ctx context.Context, method, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the supervisor: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return nil, fmt.Errorf("ask the supervisor: %s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return resp.Body, nil
}
