package annotate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// annotation as Grafana's API has it; times are in milliseconds.
type annotation struct {
	ID      int64    `json:"id,omitempty"`
	Time    int64    `json:"time"`
	TimeEnd int64    `json:"timeEnd"`
	Text    string   `json:"text"`
	Tags    []string `json:"tags"`
}

// The requests, as the metrics name them.
const (
	find   = "find"
	create = "create"
	update = "update"
	remove = "delete"
)

// client speaks Grafana's API of annotations.
type client struct {
	base    *url.URL
	http    *http.Client
	timeout time.Duration
	count   func(operation string, err error)
}

// refused is Grafana's answer that it will not, which is not the same as that it could not.
type refused struct {
	status int
	error
}

// one tells that the annotation is to blame: with others it may be different.
func (r refused) one() bool {
	return r.status == http.StatusBadRequest || r.status == http.StatusRequestEntityTooLarge || r.status == http.StatusUnprocessableEntity
}

const maxAnswer = 64 << 20

func (c *client) do(ctx context.Context, operation, method, path string, query url.Values, body, into any) (err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer func() {
		c.count(operation, err)
		if err != nil {
			err = fmt.Errorf("%s annotation: %w", operation, err)
		}
	}()
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(text)
	}
	address := c.base.JoinPath("api/annotations", path)
	address.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, address.String(), in)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		err := fmt.Errorf("grafana answers %s%s", resp.Status, said(text))
		if resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout {
			return refused{resp.StatusCode, err}
		}
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// said is what Grafana gives as the reason.
func said(text []byte) string {
	var m struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &m) != nil || m.Message == "" {
		return ""
	}
	return ": " + m.Message
}

// find lists annotations that have the tags and something of the time between the two ends in common with. There may be at most limit.
func (c *client) find(ctx context.Context, tags []string, from, to int64, limit int) ([]annotation, error) {
	query := url.Values{"type": {"annotation"}, "from": {strconv.FormatInt(from, 10)}, "to": {strconv.FormatInt(to, 10)}, "limit": {strconv.Itoa(limit)}}
	if len(tags) > 0 {
		query["tags"] = tags
	}
	var all []annotation
	if err := c.do(ctx, find, http.MethodGet, "", query, nil, &all); err != nil {
		return nil, err
	}
	if len(all) >= limit {
		return nil, fmt.Errorf("find annotation: want less than %d (got as many as were asked for)", limit)
	}
	return all, nil
}

func (c *client) create(ctx context.Context, a annotation) error {
	var answer struct{ ID int64 }
	return c.do(ctx, create, http.MethodPost, "", nil, a, &answer)
}

func (c *client) update(ctx context.Context, id int64, a annotation) error {
	var answer struct{}
	return c.do(ctx, update, http.MethodPatch, strconv.FormatInt(id, 10), nil, a, &answer)
}

func (c *client) remove(ctx context.Context, id int64) error {
	var answer struct{}
	return c.do(ctx, remove, http.MethodDelete, strconv.FormatInt(id, 10), nil, nil, &answer)
}
