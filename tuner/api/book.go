package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/report"
)

func (a *API) report(w http.ResponseWriter, _ *http.Request) {
	a.tell(w, "text/markdown; charset=utf-8", func(c ledger.Content, out io.Writer) error { return report.New(c).Markdown(out) })
}

func (a *API) ledger(w http.ResponseWriter, _ *http.Request) {
	a.tell(w, "application/jsonl", func(c ledger.Content, out io.Writer) error {
		lines := json.NewEncoder(out)
		for _, r := range c.Records {
			if err := lines.Encode(r); err != nil {
				return fmt.Errorf("encode record: %w", err)
			}
		}
		return nil
	})
}

// tell answers with something that is made of the ledger as it is on the disk now.
func (a *API) tell(w http.ResponseWriter, media string, write func(ledger.Content, io.Writer) error) {
	content, err := ledger.Load(a.c.Ledger)
	if errors.Is(err, os.ErrNotExist) {
		fail(w, http.StatusNotFound, fmt.Errorf("there is no ledger yet: %w", err))
		return
	}
	var out bytes.Buffer
	if err == nil {
		err = write(content, &out)
	}
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = out.WriteTo(w) // a reader that left is not our error
}
